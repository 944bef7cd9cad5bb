#!/bin/sh
# Makes sure that kaleido finds a Chrome or Chromium for PNG and SVG figures; run with .venv/bin first on PATH.
missing() { python -c 'import sys; from an_neuron.figures.export import browser_missing; sys.exit(browser_missing())'; }

missing 2>/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the figures …"
    export DEBIAN_FRONTEND=noninteractive
    # The one without windows, of half the size, is not packaged everywhere.
    browser=chromium-headless-shell
    apt-get update -qq
    [ -n "$(apt-cache search --names-only "^$browser\$")" ] || browser=chromium
    apt-get install -y -qq --no-install-recommends $browser fonts-dejavu-core >/dev/null
else
    plotly_get_chrome -y
fi
# What is missing, and the ways out, are said here; all but the figures' PNG and SVG works without.
missing || true
