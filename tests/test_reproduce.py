from gmb_ner.reproduce import run_command

GMB = {"corpus": "gmb", "sample": False, "protocol": "canonical", "sentences_per_doc": 5}


def test_the_corpus_needs_no_csv():
    command = run_command(GMB, {"config": "minilm", "seed": 3})
    assert command == (
        "spacy project run all . --vars.config minilm --vars.protocol canonical --vars.seed 3"
    )


def test_the_sample_and_few_steps_are_named():
    manifest = {**GMB, "corpus": "sample", "sample": True}
    command = run_command(manifest, {"config": "crf", "seed": 0, "max_steps": 60})
    assert "--vars.csv corpus/sample.csv" in command and command.endswith("--vars.max_steps 60")


def test_a_csv_of_ones_own_is_named_and_quoted():
    manifest = {**GMB, "corpus": "drugs", "source": {"file": "my drugs.csv"}}
    command = run_command({**manifest, "sentences_per_doc": 1}, {"config": "crf", "seed": None})
    assert "--vars.csv 'my drugs.csv'" in command and "seed" not in command
    assert command.endswith("--vars.sentences_per_doc 1")
