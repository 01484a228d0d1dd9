from pathlib import Path

import pytest

from gmb_ner.benchmark.training_speed import compare

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("bfloat16", [False, True])
def test_every_config_has_a_speed(bfloat16, sample_corpus, tiny_bert, monkeypatch):
    monkeypatch.setattr("gmb_ner.benchmark.training_speed.cpu_has_bfloat16", lambda: bfloat16)
    configs = [CONFIGS / "minilm-stock.cfg", CONFIGS / "minilm.cfg"]
    speeds = compare(configs, sample_corpus, str(tiny_bert), rounds=1, words=10)
    stock = ["minilm-stock, float32", "minilm-stock, bfloat16"] if bfloat16 else ["minilm-stock"]
    assert list(speeds) == [*stock, "minilm"]
    # Neither reads the sentences of other parts; on spaCy's own tokens there are a few more words.
    assert all(
        0.9 < speed.annotated / speed.read <= 1 and speed.annotated > 0 for speed in speeds.values()
    )
