from pathlib import Path

from gmb_ner.benchmark.training_speed import compare

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_config_has_a_speed(sample_corpus, tiny_bert):
    configs = [CONFIGS / "minilm-stock.cfg", CONFIGS / "minilm.cfg"]
    speeds = compare(configs, sample_corpus, str(tiny_bert), rounds=1, words=10)
    assert list(speeds) == ["minilm-stock", "minilm"]
    assert all(speed.read >= speed.annotated > 0 for speed in speeds.values())
    # spaCy's `ner` is given no word without annotation.
    assert speeds["minilm-stock"].read == speeds["minilm-stock"].annotated
