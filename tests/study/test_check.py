from autocompress.cli.views import space_rows
from autocompress.config import study_from
from autocompress.study.check import check


def test_the_space_is_shown_as_the_file_has_it():
    config = study_from(
        {
            "study": {"name": "digits"},
            "data": {"source": "digits"},
            "model": {"factory": "autocompress:vgg_small", "kwargs": {"widths": [4], "hidden": 8}},
            "search": {
                "sparsity": {"low": 0.0, "high": 0.8, "step": 0.1},
                "criterion": ["large_final", "taylor"],
                "schedule": "agp",
            },
        }
    )
    found = check(config)
    shown = {row["parameter"]: row["values"] for row in space_rows(found.space)}
    assert list(shown)[:2] == ["sparsity", "criterion"]
    assert shown["sparsity"] == "0.0 to 0.8 in steps of 0.1"
    assert (shown["criterion"], shown["schedule"]) == ("large_final, taylor", "agp")
