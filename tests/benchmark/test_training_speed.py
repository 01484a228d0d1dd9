from pathlib import Path

from gmb_ner.benchmark.training_speed import compare

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_config_has_a_speed(sample_corpus, tiny_bert):
    configs = [CONFIGS / "minilm-stock.cfg", CONFIGS / "minilm.cfg"]
    speeds = compare(configs, sample_corpus, str(tiny_bert), rounds=1, words=10)
    assert list(speeds) == ["minilm-stock", "minilm"]
    # Neither reads the sentences of other parts; on spaCy's own tokens there are a few more words.
    assert all(
        0.9 < speed.annotated / speed.read <= 1 and speed.annotated > 0 for speed in speeds.values()
    )
