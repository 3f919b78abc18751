"""``compress predict``: sizes without weights."""

from __future__ import annotations


def test_predict_tells_sizes_from_the_config_alone(llama, tmp_path, inside):
    (tmp_path / "config.json").write_bytes((llama / "config.json").read_bytes())
    done = inside("predict", tmp_path, "-p", "int4:embed=int4:head=int4", "-p", "lowrank:rank=0.4,int8")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "%" in line]
    assert [row.split()[1] for row in rows] == ["original", "int4:head=int4:embed=int4", "lowrank:rank=0.4,int8"]
    assert "100.0 %" in rows[0]
    assert "32.00" in rows[0]
    wrong = inside("predict", tmp_path, "-p", "lowrank:keep=0.8")
    assert wrong.returncode == 2
    assert wrong.stderr.strip() == (
        "compress: lowrank: ranks by keep and energy hang on the weights; give rank to predict sizes"
    )
