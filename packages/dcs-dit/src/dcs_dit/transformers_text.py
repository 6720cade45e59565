"""Text encoders of Hugging Face's ``transformers``, by hub id or folder (extra ``dcs-dit[text]``).

    texts -> tokenizer -> ids, padded on the right -> frozen model -> last hidden states

One adapter for all families: an encoder as it is, the encoder of an encoder-decoder (T5), the text
side of a model with pictures (CLIP), a decoder with its causal attention (Qwen, Llama).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dcs_common.pretrained import fingerprint
from dcs_common.torchvision_import import import_torchvision
from dcs_dit.text import TextStates

DEFAULT_LENGTH = 256
_NO_LIMIT = 10**9
# How models of several modalities call the one for text.
_TEXT_PARTS = ("text_model", "language_model")
# Makes one state of all; checkpoints of masked language models lack it, and nothing here needs it.
_POOLER = "pooler"
# Configs, tokenizers of all kinds, and weights of one kind: nothing pickled, no code, no copies of
# the weights for other libraries.
_WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "model.safetensors", "model-*.safetensors")


class TransformersTextEncoder:
    """A frozen text encoder; satisfies :class:`dcs_dit.TextEncoder`.

    States of a text do not depend on the other texts of its batch, up to rounding. A text without
    a visible character has length 0, whatever special tokens the tokenizer would add.

    Args:
        name_or_folder: a hub id, or a folder that ``save_pretrained`` wrote. Weights are read from
            safetensors alone, and no code that comes with a model is run.
        max_length: tokens that a text is cut to, at its end; default: 256, or fewer where the
            model takes no more.
        device: where to encode.
        dtype: precision of weights and states.
        revision: of a hub id: a branch, tag or commit.
        local_files_only: never use the network.

    Attributes:
        name: what it was loaded from; ``id@commit`` for a hub id.
        width: width of the states.
        max_length: tokens that a text is cut to.

    Raises:
        ValueError: if the extra is not installed, or the model cannot be loaded.
    """

    def __init__(
        self,
        name_or_folder: str | PathLike[str],
        *,
        max_length: int | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        library = _import_transformers()
        folder, self.name = _find(fspath(name_or_folder), revision, local_files_only)
        loaded = _load(library, folder, dtype)
        self._kind, self._tokenizer = loaded.kind, loaded.tokenizer
        self._model = loaded.text.requires_grad_(False).eval().to(device)
        self._device, self._dtype = torch.device(device), dtype
        self.max_length = self._checked_length(max_length)
        # A config does not always say it: some models project their last states once more.
        one = torch.zeros(1, 1, dtype=torch.int64)
        self._width = self._states(one, torch.ones_like(one)).shape[-1]

    @property
    def width(self) -> int:
        """Width of the states."""
        return self._width

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name weights, vocabulary and ``max_length``, for records.

        Computed when first asked for; that reads all weights.
        """
        weights = {  # without names, which releases of transformers change
            fingerprint({}, {"": parameter})
            for name, parameter in self._model.named_parameters()
            if _POOLER not in name
        }
        what = {
            "model_type": self._kind,
            "vocabulary": self._tokenizer.get_vocab(),
            "max_length": self.max_length,
            "weights": sorted(weights),
        }
        return fingerprint(what, {})

    def encode(self, texts: Sequence[str]) -> TextStates:
        """Return the last hidden states of texts, as many as the longest one has tokens.

        Raises:
            ValueError: if they are not a sequence of strings.
        """
        _check_texts(texts)
        ids = [self._ids(text) if text.strip() else [] for text in texts]
        lengths = torch.tensor([len(some) for some in ids], dtype=torch.int64)
        longest = max((len(some) for some in ids), default=0)
        shape = (len(ids), longest, self.width)
        states = torch.zeros(shape, dtype=self._dtype, device=self._device)
        # Texts without a token stay out: attention over nothing is not defined.
        kept = lengths.nonzero().flatten()
        if len(kept):
            # Padded here and not by the tokenizer, which may pad on the left or not at all.
            padded = torch.full((len(kept), longest), self._padding())
            for row, i in zip(padded, kept.tolist(), strict=True):
                row[: lengths[i]] = torch.tensor(ids[i])
            mask = (torch.arange(longest) < lengths[kept, None]).long()
            states[kept.to(self._device)] = self._states(padded, mask)
        return TextStates(states, lengths.to(self._device))

    @torch.no_grad()
    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids, mask = ids.to(self._device), mask.to(self._device)
        # Equal states in training, under autocast, and in sampling, without.
        with torch.autocast(self._device.type, enabled=False):
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return states.to(self._dtype)  # some layers of some models insist on float32

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"]

    def _padding(self) -> int:
        """Return an id for places that the mask takes out; some models look for their own."""
        for token in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0

    def _checked_length(self, asked: int | None) -> int:
        least = self._tokenizer.num_special_tokens_to_add() + 1
        # Either may be absent, or a number that stands for no limit.
        positions = getattr(self._model.config, "max_position_embeddings", None)
        given = (self._tokenizer.model_max_length, positions)
        most = min((n for n in given if n and 0 < n < _NO_LIMIT), default=None)
        if asked is None:
            return DEFAULT_LENGTH if most is None else min(DEFAULT_LENGTH, most)
        if asked < least or (most is not None and asked > most):
            bounds = f"at least {least}" if most is None else f"between {least} and {most}"
            raise ValueError(
                f"`max_length` must be {bounds} for {self.name}, but is {asked}. "
                "Leave it out for a length that fits."
            )
        return asked


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise ValueError(
            f"`texts` must be a sequence of strings, but is the string {texts!r}. Put it in a list."
        )
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"`texts` must be strings, but number {i} is {text!r}. Use '' for no text."
            )


# ---------------------------------------------------------------------- loading


@dataclass(frozen=True, eq=False, slots=True)
class _Loaded:
    """A tokenizer, what encodes text in a model, and what kind of model that is."""

    tokenizer: Any
    text: Any
    kind: str


def _find(name: str, revision: str | None, local_files_only: bool) -> tuple[Path, str]:
    """Return a model's folder and its name for records."""
    if name and Path(name).is_dir():
        return Path(name), name
    from huggingface_hub import snapshot_download  # comes with transformers

    try:
        folder = Path(
            snapshot_download(
                name,
                revision=revision,
                local_files_only=local_files_only,
                allow_patterns=list(_WANTED),
                ignore_patterns="*/*",
            )
        )
    except Exception as error:
        raise _refusal(name, error) from error
    return folder, f"{name}@{folder.name}"  # the hub's cache calls folders after commits


def _load(library: ModuleType, folder: Path, dtype: torch.dtype) -> _Loaded:
    never = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = library.AutoConfig.from_pretrained(folder, **never)
        tokenizer = library.AutoTokenizer.from_pretrained(folder, truncation_side="right", **never)
        with _quiet(library), torch.random.fork_rng(devices=[]):  # what a file lacks is drawn
            model, report = _loader(library, config).from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # `_check_complete` says which
                output_loading_info=True,
                **never,
            )
    except Exception as error:
        raise _refusal(folder, error) from error
    text = _text_part(model)
    unlike = [key for key, *_ in report["mismatched_keys"]]
    _check_complete(folder, model, text, {*report["missing_keys"], *unlike})
    _check_tokenizer(folder, tokenizer, text)
    text.config.use_cache = False  # keys and values would be kept for tokens that never come
    return _Loaded(tokenizer, text, config.model_type)


def _import_transformers() -> ModuleType:
    if find_spec("transformers") is None:
        raise ValueError(
            "transformers is needed here, but it is not installed. Install it with "
            "`pip install 'dcs-dit[text]'`, or encode texts yourself and pass `TextStates`."
        )
    if find_spec("torchvision") is not None:
        import_torchvision()  # transformers imports it where it is installed, and may need its cure
    return import_module("transformers")


def _loader(library: ModuleType, config: Any) -> Any:
    """Return the class that loads least of a model."""
    encoder = library.MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), None)
    if encoder is None or not encoder.__name__.endswith("EncoderModel"):
        return library.AutoModel
    config.is_encoder_decoder = False  # T5 and its relatives: leaves the decoder out
    return encoder


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Keep the library from listing all weights of a file that are left out on purpose."""
    logging = library.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _text_part(model: Any) -> Any:
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        return model.encoder
    for part in _TEXT_PARTS:
        if hasattr(model, part):
            return getattr(model, part)
    return model


def _check_complete(folder: Path, model: nn.Module, text: nn.Module, absent: set[str]) -> None:
    """Refuse weights that the library would draw at random."""
    needed = {id(parameter) for parameter in text.parameters()}
    lost = [
        key
        for key, parameter in model.named_parameters()
        if key in absent and id(parameter) in needed and _POOLER not in key
    ]
    if lost:
        raise ValueError(
            f"A text encoder's weights must be complete, but {folder} lacks {len(lost)} of them or "
            f"has them in another shape (first: {lost[0]!r}). Copy or download it again."
        )


def _check_tokenizer(folder: Path, tokenizer: Any, text: Any) -> None:
    """Refuse the empty tokenizer that the library makes up where a folder has no vocabulary."""
    tokens, known = len(tokenizer), getattr(text.config, "vocab_size", 0)
    if tokens < known / 2:
        raise ValueError(
            f"A text encoder's tokenizer must be the one that it was trained with, but the one in "
            f"{folder} has {tokens} tokens and the model {known}. Copy the tokenizer's files, too."
        )


def _refusal(name: str | Path, error: Exception) -> ValueError:
    """Return what to say of a library's many ways of saying that it cannot."""
    if "no file named model.safetensors" in str(error):
        return ValueError(
            f"A text encoder's weights must be safetensors, but {name} has none. Pickled ones are "
            "not read, since they can run code. Choose another model or revision, or convert it "
            "where you trust it, by `from_pretrained` and `save_pretrained`."
        )
    first = str(error).strip().partition("\n")[0].rstrip(".")
    return ValueError(
        "A text encoder must be a hub id that can be reached or a folder, of a model that "
        f"transformers can load, but {str(name)!r} is none ({type(error).__name__}: {first}). "
        "Check the name, and the network if it is a hub id."
    )
