"""The Hugging Face hub: what is cached, whether it answers, and files at a pinned revision.

huggingface_hub comes with the `train` extra and reads its environment when it is imported, so it
is imported inside the functions, after the user's variables are set.
"""

import os
import threading
from pathlib import Path

import requests

from gmb_ner.assets.download import UnreachableError

SECONDS = 4.0  # how long the hub may take to say that it is there
PROBE = "config.json"  # a small file that every encoder's repository has


class MissingFileError(UnreachableError):
    """The hub answers, but the repository has no such file at that revision."""


def cached(repo: str, revision: str, filename: str) -> Path | None:
    """RETURNS (Optional[Path]): The file in the local cache, or None. Asks no network."""
    try:
        from huggingface_hub import constants, try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(
        repo, filename, cache_dir=constants.HF_HUB_CACHE, revision=revision
    )
    # Not a str also when the cache remembers that the hub has no such file.
    return Path(found) if isinstance(found, str) else None


def forbidden(offline: bool = False) -> str | None:
    """RETURNS (Optional[str]): Why the hub must not be asked, or None if it may be."""
    if offline:
        return "no network is wanted (--offline)"
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return f"{variable} is set"
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        return "huggingface_hub is not installed (it comes with the extra [train])"
    return None


def answers(repo: str, revision: str, seconds: float = SECONDS) -> tuple[bool, str]:
    """Ask the hub once for the head of a small file.

    repo (str): The repository's name.
    revision (str): The pinned commit.
    seconds (float): How long to wait at most.
    RETURNS (Tuple[bool, str]): Whether it answered as the hub does, and what happened in words.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(repo, PROBE, revision=revision, endpoint=_endpoint())
    host = url.split("/", 3)[2]
    answer: list[tuple[bool, str]] = []

    def ask() -> None:
        try:
            # Unfollowed, since the pin is in the head of the first answer only.
            response = requests.head(url, timeout=seconds, allow_redirects=False)
        except requests.RequestException as error:
            answer.append((False, f"{host} cannot be reached ({type(error).__name__})"))
            return
        # A proxy's login page also answers, but not with a commit.
        if response.status_code < 400 and "X-Repo-Commit" in response.headers:
            answer.append((True, f"{host} answers"))
        else:
            answer.append((False, f"{host} answers with HTTP status {response.status_code}"))

    # In a thread, because the time that a name server takes knows no limit.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds + 1)
    return answer[0] if answer else (False, f"{host} gives no answer within {seconds:.0f} s")


def fetch(repo: str, revision: str, filename: str, *, offline: bool = False) -> Path:
    """One file at a pinned revision, from the cache or from the hub into the cache.

    repo (str): The repository's name.
    revision (str): The pinned commit.
    filename (str): The file in it.
    offline (bool): Look into the cache only.
    RETURNS (Path): The file in the cache.
    RAISES: MissingFileError if the repository lacks the file; UnreachableError if it can't be had.
    """
    if found := cached(repo, revision, filename):
        return found
    if reason := forbidden(offline):
        raise UnreachableError(f"{repo} is not cached and {reason}")
    # huggingface_hub would retry for minutes where nobody answers.
    there, words = answers(repo, revision)
    if not there:
        raise UnreachableError(f"{repo} is not cached and {words}")

    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(
            hf_hub_download(
                repo,
                filename,
                revision=revision,
                cache_dir=constants.HF_HUB_CACHE,
                etag_timeout=SECONDS,
                endpoint=_endpoint(),
            )
        )
    except LocalEntryNotFoundError as error:
        raise UnreachableError(f"{filename} of {repo} could not be downloaded") from error
    except EntryNotFoundError as error:
        raise MissingFileError(f"{repo} has no {filename} at {revision}") from error
    except Exception as error:
        # The HTTP library behind huggingface_hub changes with its version, and its errors too.
        raise UnreachableError(
            f"{filename} of {repo} could not be downloaded ({type(error).__name__}: {error})"
        ) from error


def _endpoint() -> str:
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
