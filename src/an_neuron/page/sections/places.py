"""Where it happens, and what drives the neuron: maps of recovery, side by side on one scale of colour."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import printable
from an_neuron.page.results import Results, Section
from an_neuron.page.values import rounded

SITES = {"resid_pre": "residual stream", "attn_out": "attention output", "mlp_out": "MLP output"}
HEADS = {"z": "heads' output (z)", "v": "values (v)", "pattern": "pattern"}


def places_section(results: Results) -> Section:
    """Show recovery by layer and position of three sites, and by layer and head."""
    sites, first = site_maps({title: results.table(site) for site, title in SITES.items()})
    heads = head_maps({title: results.table(site) for site, title in HEADS.items()})
    shown = {"left_out": first, "figures": [f"patched_{short}_fig" for short in ("resid", "attn", "mlp")]}
    shown["head_figures"] = [f"patched_heads_{site}_fig" for site in HEADS]
    return Section("places", "Where it happens", shown, {"sites": sites, "heads": heads})


def drivers_section(results: Results) -> Section:
    """Show what recovers the neuron's own activation; nothing is drawn where it does not change."""
    sites, first = site_maps({title: results.table(f"driving_{site}") for site, title in SITES.items()})
    heads = head_maps({HEADS["z"]: results.table("driving_z")})
    layer, index = results.neuron
    drawn = sites["limit"] is not None
    figures = [f"driving_{short}_fig" for short in ("resid", "attn", "mlp", "heads")]
    shown = {"neuron": f"{layer}.{index}", "left_out": first, "drawn": drawn, "figures": figures}
    return Section("drivers", "What drives it", shown, {"sites": sites, "heads": heads} if drawn else {})


def site_maps(tables: Mapping[str, Table]) -> tuple[dict[str, Any], int]:
    """Return the maps of sites, and how many positions at the prompts' beginnings are left out.

    Before prompts first differ, both runs are the same, so that a patch there does nothing.
    """
    any_table = next(iter(tables.values()))
    clean, corrupted = any_table["clean_token"], any_table["corrupted_token"]
    first = int((clean != corrupted).any(0).argmax())
    maps = _maps({title: table["recovery"][:, first:] for title, table in tables.items()})
    maps["columns"] = _columns(clean[:, first:], corrupted[:, first:])
    return {**maps, "axis": "token"}, first


def head_maps(tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return the maps of attention heads."""
    maps = _maps({title: table["recovery"] for title, table in tables.items()})
    n_heads = next(iter(tables.values()))["recovery"].shape[1]
    return {**maps, "columns": [str(head) for head in range(n_heads)], "axis": "head"}


def _maps(recovery: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return maps, and their largest absolute value, at which their one scale ends; None where all is NaN."""
    finite = np.concatenate([values[np.isfinite(values)] for values in recovery.values()])
    limit = rounded(np.abs(finite).max()) if finite.size else None
    return {"maps": [{"title": title, "z": rounded(values, 4)} for title, values in recovery.items()], "limit": limit}


def _columns(clean: np.ndarray, corrupted: np.ndarray) -> list[str]:
    """Return the name of each position: its token, or both; of several prompt pairs, how far it is from the last."""
    if len(clean) > 1:
        return [
            f"{place - clean.shape[1] + 1}" if place < clean.shape[1] - 1 else "last" for place in range(clean.shape[1])
        ]
    tokens = zip(clean[0], corrupted[0], strict=True)
    return [
        printable(one) if one == other else f"{printable(one)} / {printable(other).strip()}" for one, other in tokens
    ]
