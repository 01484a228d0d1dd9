"""Shards by Ray, for which a stand-in stands that runs everything here."""

import os
import sys
from types import SimpleNamespace

import pytest
import spacy

from gmb_ner.annotate import engines
from gmb_ner.annotate.engines import run_here, run_ray
from gmb_ner.annotate.job import Job, prepare, split
from gmb_ner.annotate.records import read_records
from gmb_ner.errors import InputError


class RayTaskError(Exception):
    """As Ray's: what an actor's method raised, as `cause`."""

    def __init__(self, cause):
        super().__init__(f"ray::Worker.make()\n  File ...\n{cause!r}")
        self.cause = cause


class RayActorError(Exception):
    """As Ray's: an actor could not be made, or died."""


class Ray:
    """The part of Ray's interface that is used.

    Attributes: what `ray.init` was given, or raises; what the actors asked for; whether it goes on.
    """

    def __init__(self):
        self.given, self.unreachable, self.options, self.runs = None, None, None, False
        self.exceptions = SimpleNamespace(RayTaskError=RayTaskError, RayActorError=RayActorError)

    def init(self, **given):
        if self.unreachable:
            raise self.unreachable
        self.given, self.runs = given, True

    def shutdown(self):
        self.runs = False

    def remote(self, **options):
        self.options = options
        return lambda made: SimpleNamespace(remote=lambda *args: self.actor(made, args))

    def actor(self, made, args):
        try:
            worker = made(*args)
        except Exception as error:
            died = RayActorError(f"The actor died\n  File ...\nInputError: {error}")
            return SimpleNamespace(make=SimpleNamespace(remote=lambda *args: died))
        return SimpleNamespace(make=SimpleNamespace(remote=lambda *args: self.call(worker, args)))

    def call(self, worker, args):
        try:
            return worker.make(*args)
        except Exception as error:
            return RayTaskError(error)

    def get(self, reference):
        if isinstance(reference, Exception):
            raise reference
        return reference


@pytest.fixture
def ray(monkeypatch):
    stand_in = Ray()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    return stand_in


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """How many are said to read at a time; this process keeps its threads."""
    said = []

    def load_beside(processes, load):
        said.append(processes)
        return load()

    monkeypatch.setattr(engines, "load_beside", load_beside)
    return said


@pytest.fixture
def job(tmp_path, ruler):
    (tmp_path / "in.txt").write_text("Oslo\n" * 10)
    return Job(str(tmp_path / "in.txt"), tmp_path / "out", str(ruler), shard_size=4)


def run(job, engine, *args):
    return list(engine(job, split(read_records(prepare(job)), job.shard_size, []), *args))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def change(job, **settings):
    return Job(**{**vars(job), **settings})


def test_ray_makes_the_same_shards(job, ray, tmp_path):
    here = change(job, output=tmp_path / "here")
    assert run(job, run_ray, 2, "auto", 0) == run(here, run_here)
    assert content(job.output) == content(here.output)
    assert ray.given["address"] == "auto" and not ray.runs
    assert (ray.options["num_cpus"], ray.options["num_gpus"]) == (1, 0)


def test_an_actor_takes_one_core(job, ray, beside):
    run(job, run_ray, 2, None, 0)
    assert beside == [os.cpu_count()] * 2


def test_a_model_that_is_no_pipeline_is_told_before_ray_starts(job, ray):
    with pytest.raises(InputError, match=r"^nowhere cannot be loaded"):
        list(run_ray(change(job, model="nowhere"), [], 2, None, 0))
    assert ray.given is None


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        # Without a text, as Ray's own where nothing answers at a host and port.
        ("10.0.0.1:6379", ConnectionError(), "Ray cannot be reached at 10.0.0.1:6379: start it"),
        ("auto", ConnectionError("None runs"), r"Ray cannot be reached at auto \(None runs\): st"),
        (None, RuntimeError("other version"), r"reached at this machine \(other version\): start"),
    ],
)
def test_a_cluster_that_cannot_be_reached(address, error, message, job, ray):
    ray.unreachable = error
    with pytest.raises(InputError, match=message):
        list(run_ray(job, [], 2, address, 0))


@pytest.mark.parametrize(("gpu_id", "ray_gpus"), [(-1, 1), (3, 0.5)])
def test_an_actor_with_a_gpu_reads_on_it(gpu_id, ray_gpus, job, ray, monkeypatch):
    taken = []
    monkeypatch.setattr(spacy, "require_gpu", taken.append)
    run(change(job, gpu_id=gpu_id), run_ray, 2, None, ray_gpus)
    assert ray.options["num_gpus"] == ray_gpus
    assert taken == [0, 0]  # by the actors, whose own it is, and not here


def test_a_gpu_that_ray_does_not_give_is_refused(job, ray):
    with pytest.raises(InputError, match="by --gpu-id alone: add --ray-gpus 1"):
        list(run_ray(change(job, gpu_id=0), [], 2, None, 0))


def test_what_an_actor_says_to_the_user_is_said_here(job, ray, monkeypatch):
    def lacks_memory(*args):
        raise InputError("Memory did not suffice.")

    monkeypatch.setattr(engines, "annotate_shard", lacks_memory)
    with pytest.raises(InputError, match=r"^Memory did not suffice\.$"):
        run(job, run_ray, 2, None, 0)
    assert not ray.runs


def test_a_machine_that_lacks_the_model(job, ray, monkeypatch):
    def lacks_model(processes, load):
        raise InputError("en_ner cannot be loaded.")

    monkeypatch.setattr(engines, "load_beside", lacks_model)
    with pytest.raises(InputError, match=r"worker of Ray died \(InputError: en_ner cannot be load"):
        run(job, run_ray, 2, None, 0)


def test_our_own_mistakes_in_an_actor_keep_their_traceback(job, ray, monkeypatch):
    monkeypatch.setattr(engines, "annotate_shard", lambda *args: 1 / 0)
    with pytest.raises(RayTaskError):
        run(job, run_ray, 2, None, 0)
