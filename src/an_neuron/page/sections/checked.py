"""What of the circuit was measured again by ordinary forwards, and where its files are."""

from an_neuron.page.results import Results, Section, links_of

CHECKED = {
    "circuit": ("circuit: kinds of values", "recovery"),
    "driving_neurons": ("neurons below: activations", "activation"),
    "dose_response": ("dose and response: logit differences", "logits"),
    "curves": ("best nodes together: logit differences", "logits"),
}


def checked_section(results: Results) -> Section:
    """Show how many values of each file were measured twice, and the largest difference; and the files."""
    rows = [
        {"what": what, "unit": unit, "checks": int(of["spot_checks"]), "rounding": float(of["rounding"])}
        for name, (what, unit) in CHECKED.items()
        if name in results
        for of in [results.table(name).attributes]
    ]
    return Section("checked", "Controls and files", {"rows": rows, "files": links_of(results)})
