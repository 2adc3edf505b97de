"""What the zoo's results say, as a table."""

from typing import Any

SHARE = 0.3  # of the units of every removable group, that are removed
TOLERANCE = 1e-9  # of exact removal, in standard deviations of the outputs, in float64
FORMATS_TRIED = ("pt2", "onnx")
FIRST = "release 0.1"  # wrote results without a date


def table(suite: str, machine: dict[str, Any], results: dict[str, Any]) -> str:
    """Return the results of a suite as Markdown."""
    passed = sum(bool(result.get("passed")) for result in results.values())
    about = (
        f"{int(SHARE * 100)} % of the units of every removable group zeroed and removed, batch "
        "norms folded, rebuilt from plan and weights on a fresh build, exported. Passed: outputs "
        f"equal to {TOLERANCE:g} standard deviations in float64 after each of these, nothing "
        "refused. Fold: the difference on a float64 copy, left out above 100 M parameters, where "
        "only folding's own comparison in float64 (to 1e-9) is made. Effect: how much zeroing "
        "changed the outputs. s: CPU seconds of one thread, n = 1, for finding units, pruning, "
        "folding, rebuilding and exporting, with the comparisons that these make themselves. GB: "
        "peak of the process, PyTorch and all comparisons included. "
        "Files: the compressed model written, reloaded in PyTorch or ONNX Runtime and run on one "
        "image in float32; the difference in standard deviations of the outputs (passed: up to "
        "1e-4), and the CPU seconds of writing. Run: the day, or the release where it was "
        "earlier. " + ", ".join(f"{key} {value}" for key, value in machine.items())
    )
    heads = ("model", "passed", "groups", "units", "M parameters", "after", "difference")
    heads += ("effect", "fold", "s", "GB", *FORMATS_TRIED, "run", "not removable, and why")
    title = f"# Exact removal on {suite}: {passed} of {len(results)} models pass"
    for name in FORMATS_TRIED:
        tried = [r["files"].get(name, {}) for r in results.values() if "files" in r]
        if tried:
            right = sum(bool(found.get("passed")) for found in tried)
            title += f"; {name}: {right} of {len(tried)}"
    lines = [title, "", f"{about}.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += [_row(name, result) for name, result in results.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, result: dict[str, Any]) -> str:
    files = result.get("files", {})
    written = [
        _cell(files.get(kind, files)) if "error" in files or kind in files else ""
        for kind in FORMATS_TRIED
    ]
    if "parameters_after" not in result:
        return f"| {name} | no |" + " |" * 12 + f" {result.get('error', '')[:300]} |"
    why = [f"{text} ({count} groups)" for text, count in result["kept_why"].items()]
    why += [f"refused {name}: {reason}" for name, reason in result["refused"].items()]
    why += [result["error"]] if "error" in result else []
    cells = [
        name,
        "yes" if result.get("passed") else "no",
        result["groups"],
        result["units"],
        f"{result['parameters'] / 1e6:.2f}",
        f"{result['parameters_after'] / 1e6:.2f}",
        f"{result['difference']:.0e}",
        f"{result['effect']:.1f}",
        f"{result.get('fold_difference', float('nan')):.0e}",
        result["total_s"],
        result["peak_gb"],
        *written,
        result.get("date", FIRST),
        "; ".join(why)[:600],
    ]
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _cell(result: dict[str, Any]) -> str:
    """Return what a table says of one format: how far off, the seconds, and what is unusual."""
    if "error" in result:
        return f"no: {result['error'][:200]}"
    verdict = "" if result["passed"] else "no: "
    batch = "" if result["batch"] == "any" else ", one image at a time"
    return f"{verdict}{result['difference']:.0e}, {result['write_s']:.0f} s{batch}"
