"""What a tag tells about the next one, where the words tell nothing."""

import spacy
from spacy.tokens import Doc
from spacy.training import Example

MODEL = {
    "@architectures": "gmb_ner.LinearTagger.v1",
    "dropout": 0.0,
    "transitions": True,
    # Vectors of the words alone: no neighbour is seen.
    "tok2vec": {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            **{"width": 8, "attrs": ["NORM"], "rows": [100], "include_static_vectors": False},
        },
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            **{"width": 8, "window_size": 0, "maxout_pieces": 2, "depth": 1},
        },
    },
}


def examples(nlp):
    """Names have two words, and each word of them is also none."""
    tagged = [("a a o", ["B-x", "I-x", "O"]), ("o a a", ["O", "B-x", "I-x"]), ("o", ["O"])]
    for text, tags in tagged:
        words = text.split()
        yield Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, ents=tags))


def trained(**settings):
    nlp = spacy.blank("en")
    nlp.add_pipe("linear_ner", name="ner", config={"model": MODEL | settings, "loss": "crf"})
    optimizer = nlp.initialize(lambda: list(examples(nlp)))
    optimizer.learn_rate = 0.02
    for _ in range(150):
        nlp.update(list(examples(nlp)), sgd=optimizer)
    return nlp


def test_what_follows_what_is_learned_and_kept(tmp_path):
    nlp = trained()
    learned = nlp.get_pipe("ner").model.get_ref("transitions").get_param("T")
    names = nlp.get_pipe("ner").tags
    begin, inside = names.index("B-x"), names.index("I-x")
    assert learned[begin, inside] > 0.1 and learned[begin, begin] < -0.1
    assert nlp.evaluate(list(examples(nlp)))["ents_f"] == 1
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    kept = loaded.get_pipe("ner").model.get_ref("transitions").get_param("T")
    assert kept.tolist() == learned.tolist()
    assert loaded("a a o").ents[0].text == "a a"


def test_confidences_are_of_the_whole_model():
    """Without its transitions the very same scores leave it open where a name ends."""
    nlp = trained()
    sure = nlp("a a o").ents[0]._.confidence
    nlp.get_pipe("ner").model.get_ref("transitions").get_param("T")[:] = 0
    unsure = [ent._.confidence for ent in nlp("a a o").ents if ent.text == "a a"]
    assert sure > 0.8 and (not unsure or unsure[0] < sure)
