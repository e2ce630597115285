import json

from crafters.proof.ablate import MEASURES, table


def test_the_table_has_means_and_spreads_of_what_is_finished(tmp_path):
    for name, value in (("full-0", 1.0), ("full-1", 3.0), ("hand_mesh-0", 5.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(dict.fromkeys(MEASURES, value)), "utf-8")
    header, _, *rows = table(tmp_path).splitlines()
    assert header.count("|") == len(MEASURES) + 3
    assert rows == ["| full | " + "2.00 ± 1.00 | " * len(MEASURES) + "2 |",
                    "| − hand mesh | " + "5.00 ± 0.00 | " * len(MEASURES) + "1 |"]
