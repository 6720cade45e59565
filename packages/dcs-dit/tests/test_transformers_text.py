"""Text encoders of ``transformers``: small real ones of five families, with real tokenizers.

They are built from configs with random weights, saved, and loaded by the adapter; what it says is
held against the model as it was built, asked for one text at a time and without padding.
"""

import json
import logging
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dcs_common.torchvision_import import import_torchvision
from dcs_dit import TextEncoder, sample
from dcs_dit.transformers_text import DEFAULT_LENGTH, TransformersTextEncoder

from .small_dit import fresh, lively, small_config

WORDS = (
    *("a", "the", "two", "red", "green", "old", "quiet", "church", "hill", "dog", "grass", "boats"),
    *("sea", "morning", "on", "over", "in", "at", "runs", "sleeps"),
)
SENTENCES = (
    "a red church on a hill",
    "two boats at sea in the quiet morning",
    "the old dog runs over green grass",
    "a dog sleeps",
)
FAMILIES = ("bert", "t5", "clip", "llama", "gpt2")
CAUSAL = ("clip", "llama", "gpt2")
WIDTH, POSITIONS = 32, 40
CLOSE = {"rtol": 0, "atol": 1e-5}
WEIGHTS = "model.safetensors"

texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=5)


# ---------------------------------------------------------------------- small encoders


@dataclass(frozen=True)
class Family:
    """A saved model, and what it is made of.

    Attributes:
        folder: with model and tokenizer.
        ids: the tokens of a text, by the library that trained the tokenizer.
        states: (ids) -> states of the text part, as it was built.
        parameters: how many the text part has.
    """

    folder: Path
    ids: Callable[[str], list[int]]
    states: Callable[[list[int]], Tensor]
    parameters: int


@cache
def transformers() -> Any:
    """Import the library, after torchvision where there is one."""
    if find_spec("torchvision") is not None:
        import_torchvision()
    return import_module("transformers")


def tokenizer(special: dict[str, str], template: str, folder: Path, **settings: Any) -> Any:
    """Train a tokenizer on the sentences and save it as a model's."""
    library = import_module("tokenizers")
    made = library.Tokenizer(library.models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    names = [*special.values(), "<unk>"]
    trainer = library.trainers.BpeTrainer(
        special_tokens=list(dict.fromkeys(names)), show_progress=False
    )
    made.train_from_iterator([*SENTENCES, *WORDS], trainer)
    if template != "$A":
        own = [name for name in template.split() if name != "$A"]
        made.post_processor = library.processors.TemplateProcessing(
            single=template, special_tokens=[(name, made.token_to_id(name)) for name in own]
        )
    transformers().PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", **special, **settings
    ).save_pretrained(folder)
    return made


def bert(vocabulary: int) -> tuple[nn.Module, nn.Module]:
    config = transformers().BertConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=POSITIONS,
    )
    model = transformers().BertForMaskedLM(config)  # without the pooler that BertModel has
    return model, model.bert


def t5(vocabulary: int) -> tuple[nn.Module, nn.Module]:
    config = transformers().T5Config(
        vocab_size=vocabulary,
        d_model=WIDTH,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=3,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = transformers().T5ForConditionalGeneration(config)
    return model, model.encoder


def clip(vocabulary: int) -> tuple[nn.Module, nn.Module]:
    shared = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {
        **shared,
        "vocab_size": vocabulary,
        "intermediate_size": 48,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    pictures = {**shared, "intermediate_size": 16, "image_size": 8, "patch_size": 4}
    config = transformers().CLIPConfig(text_config=words, vision_config=pictures)
    model = transformers().CLIPModel(config)
    return model, model.text_model


def llama(vocabulary: int) -> tuple[nn.Module, nn.Module]:
    config = transformers().LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = transformers().LlamaForCausalLM(config)
    return model, model.model


def gpt2(vocabulary: int) -> tuple[nn.Module, nn.Module]:
    config = transformers().GPT2Config(
        vocab_size=vocabulary,
        n_embd=WIDTH,
        n_layer=2,
        n_head=2,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers().GPT2LMHeadModel(config)
    return model, model.transformer


BEGIN_END = {"bos_token": "<s>", "eos_token": "</s>"}
# Template, special tokens and settings of each family's tokenizer: padding on the left, truncation
# on the left and no padding token at all are among them.
TOKENIZERS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "bert": (
        "[CLS] $A [SEP]",
        {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
        {"truncation_side": "left"},
    ),
    "t5": ("$A </s>", {"pad_token": "<pad>", "eos_token": "</s>"}, {"model_max_length": 30}),
    "clip": ("<s> $A </s>", {**BEGIN_END, "pad_token": "</s>"}, {}),
    "llama": ("<s> $A", BEGIN_END, {"padding_side": "left"}),
    "gpt2": ("$A", {"eos_token": "<|end|>"}, {"padding_side": "left"}),
}
MODELS = {"bert": bert, "t5": t5, "clip": clip, "llama": llama, "gpt2": gpt2}


def build(name: str, folder: Path, seed: int = 0) -> Family:
    """Build and save a family's model and tokenizer."""
    template, special, settings = TOKENIZERS[name]
    made = tokenizer(special, template, folder, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, text = MODELS[name](made.get_vocab_size())
    lively(model.eval(), seed).save_pretrained(folder)

    @torch.no_grad()
    def states(ids: list[int]) -> Tensor:
        return text(input_ids=torch.tensor([ids])).last_hidden_state[0]

    return Family(
        folder,
        lambda sentence: made.encode(sentence).ids,
        states,
        sum(parameter.numel() for parameter in text.parameters()),
    )


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Family]:
    """Return families by name, each built once."""
    return cache(lambda name: build(name, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="module")
def encoder(family: Callable[[str], Family]) -> Callable[[str], TransformersTextEncoder]:
    """Return encoders by name, each loaded once."""
    return cache(lambda name: TransformersTextEncoder(family(name).folder))


@pytest.fixture
def copy(family: Callable[[str], Family], tmp_path: Path) -> Callable[[str], Path]:
    """Return copies of families' folders, to break."""
    return lambda name: Path(shutil.copytree(family(name).folder, tmp_path / name))


Families = Callable[[str], Family]
Encoders = Callable[[str], TransformersTextEncoder]
Copies = Callable[[str], Path]


def error(message: str, *reasons: str) -> Any:
    """Expect a ValueError that says exactly this, with a library's reason for each ``{}``."""
    pattern = re.escape(message)
    for reason in reasons:
        pattern = pattern.replace(re.escape("{}"), f"{reason}: [^\n]+", 1)
    return pytest.raises(ValueError, match=f"^{pattern}$")


def parts_of(encoder: TransformersTextEncoder) -> list[nn.Module]:
    return [value for value in vars(encoder).values() if isinstance(value, nn.Module)]


def parameters_of(encoder: TransformersTextEncoder) -> list[nn.Parameter]:
    return [parameter for part in parts_of(encoder) for parameter in part.parameters()]


def weights_of(folder: Path) -> dict[str, Tensor]:
    return import_module("safetensors.torch").load_file(folder / WEIGHTS)


def write_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    save = import_module("safetensors.torch").save_file
    save(weights, folder / WEIGHTS, metadata={"format": "pt"})


# ---------------------------------------------------------------------- states


@pytest.mark.parametrize("name", FAMILIES)
@given(batch=texts)
def test_states_are_the_models_own_in_any_batch(
    family: Families, encoder: Encoders, name: str, batch: list[str]
) -> None:
    made, encoded = family(name), encoder(name).encode(batch)
    ids = [made.ids(text) if text else [] for text in batch]
    assert encoded.lengths.tolist() == [len(some) for some in ids]
    assert encoded.states.shape == (len(batch), max(map(len, ids)), WIDTH)
    for states, some in zip(encoded.states, ids, strict=True):
        if some:
            torch.testing.assert_close(states[: len(some)], made.states(some), **CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_encoder_is_frozen_and_tells_its_width(
    family: Families, encoder: Encoders, name: str
) -> None:
    own = encoder(name)
    assert isinstance(own, TextEncoder)
    encoded = own.encode(SENTENCES)
    assert own.width == encoded.states.shape[-1] == WIDTH
    assert not encoded.states.requires_grad
    parameters = parameters_of(own)
    assert not any(parameter.requires_grad for parameter in parameters)
    assert not any(module.training for part in parts_of(own) for module in part.modules())
    # Neither a decoder, nor a side for pictures, nor a head.
    pooler = WIDTH * (WIDTH + 1) if name == "bert" else 0
    assert sum(parameter.numel() for parameter in parameters) == family(name).parameters + pooler


@pytest.mark.parametrize("name", FAMILIES)
def test_what_comes_later_changes_a_causal_model_nowhere_before(
    encoder: Encoders, name: str
) -> None:
    one, other = encoder(name).encode(["a red church on a hill", "a red church on a boats"]).states
    is_equal = torch.allclose(one[:4], other[:4], **CLOSE)
    assert is_equal == (name in CAUSAL)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_text_is_cut_at_its_end(family: Families, name: str) -> None:
    made = family(name)
    short = TransformersTextEncoder(made.folder, max_length=6)
    assert short.max_length == 6
    text = " ".join(SENTENCES)
    encoded = short.encode([text, "a dog"])
    assert encoded.lengths.tolist() == [6, len(made.ids("a dog"))]
    assert encoded.states.shape == (2, 6, WIDTH)
    frame = made.ids("")  # what the template adds: the last of them stays last
    begin, end = {"bert": (1, 1), "t5": (0, 1), "clip": (1, 1), "llama": (1, 0), "gpt2": (0, 0)}[
        name
    ]
    assert len(frame) == begin + end
    ids = made.ids(text)[: 6 - end] + frame[begin:]
    torch.testing.assert_close(encoded.states[0], made.states(ids), **CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_text_has_no_states(encoder: Encoders, name: str) -> None:
    none = encoder(name).encode(["", " \n\t"])
    assert (none.states.shape, none.lengths.tolist()) == ((2, 0, WIDTH), [0, 0])
    nobody = encoder(name).encode([])
    assert (nobody.states.shape, nobody.lengths.shape) == ((0, 0, WIDTH), (0,))
    some = encoder(name).encode(["", "a dog", " "])
    assert some.lengths.tolist() == [0, some.states.shape[1], 0]
    assert not some.states[[0, 2]].any()


@pytest.mark.parametrize(("name", "length"), [("bert", POSITIONS), ("t5", 30), ("llama", 256)])
def test_by_default_texts_are_cut_to_what_a_model_takes(
    encoder: Encoders, name: str, length: int
) -> None:
    assert DEFAULT_LENGTH == 256
    assert encoder(name).max_length == length
    assert encoder(name).encode([" ".join(WORDS * 20)]).lengths.tolist() == [length]


def test_padding_that_a_tokenizer_brings_along_is_left_out(copy: Copies, encoder: Encoders) -> None:
    folder = copy("bert")
    own = json.loads((folder / "tokenizer.json").read_text())
    library = import_module("tokenizers")
    made = library.Tokenizer.from_str(json.dumps(own))
    made.enable_padding(length=20)
    made.enable_truncation(3)
    made.save(str(folder / "tokenizer.json"))
    encoded, expected = TransformersTextEncoder(folder).encode(SENTENCES), encoder("bert")
    assert torch.equal(encoded.states, expected.encode(SENTENCES).states)


def test_an_encoder_that_was_saved_without_its_decoder(encoder: Encoders, copy: Copies) -> None:
    folder = copy("t5")
    whole = weights_of(folder)
    write_weights(folder, {key: whole[key] for key in whole if not key.startswith("decoder")})
    config = json.loads((folder / "config.json").read_text())
    for is_pair in (True, False):
        config |= {"is_encoder_decoder": is_pair, "architectures": ["T5EncoderModel"]}
        (folder / "config.json").write_text(json.dumps(config))
        encoded = TransformersTextEncoder(folder).encode(SENTENCES)
        assert torch.equal(encoded.states, encoder("t5").encode(SENTENCES).states)


@pytest.mark.parametrize("kind", ["Bart", "T5Gemma"])
def test_encoders_of_other_pairs(copy: Copies, kind: str) -> None:
    library, folder = transformers(), copy("t5")  # for its tokenizer
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    if kind == "Bart":
        sizes = {"d_model": WIDTH, "max_position_embeddings": 30, "decoder_start_token_id": 1}
        for side in ("encoder", "decoder"):
            sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 48}
        config = library.BartConfig(vocab_size=vocabulary, **sizes)
    else:
        sizes = {"vocab_size": vocabulary, "hidden_size": WIDTH, "intermediate_size": 48}
        sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
        side = {**sizes, "head_dim": 8, "pad_token_id": 0}
        config = library.T5GemmaConfig(encoder=side, decoder=side, vocab_size=vocabulary)
    model = lively(getattr(library, f"{kind}Model")(config).eval())
    model.save_pretrained(folder)
    own = TransformersTextEncoder(folder)
    encoded = own.encode(SENTENCES)
    ids = torch.tensor([own._ids(SENTENCES[-1])])
    with torch.no_grad():
        expected = model.get_encoder()(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(encoded.states[-1, : ids.shape[1]], expected, **CLOSE)
    count = sum(parameter.numel() for parameter in model.get_encoder().parameters())
    assert sum(parameter.numel() for parameter in parameters_of(own)) == count


def test_a_decoder_is_not_even_built(family: Families, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers().T5Model, "__init__", refuse)
    TransformersTextEncoder(family("t5").folder)


def test_a_causal_model_keeps_nothing_for_later_tokens(
    encoder: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers().DynamicCache, "update", refuse)
    encoder("llama").encode(SENTENCES)


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("this must not be called")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_in_another_precision(
    family: Families, encoder: Encoders, dtype: torch.dtype
) -> None:
    own = TransformersTextEncoder(family("t5").folder, dtype=dtype)  # keeps some in float32
    assert dtype in {parameter.dtype for parameter in parameters_of(own)}
    half, exact = own.encode(SENTENCES), encoder("t5").encode(SENTENCES)
    assert half.states.dtype == dtype
    assert torch.equal(half.lengths, exact.lengths)
    inside = torch.arange(exact.states.shape[1]) < exact.lengths[:, None]
    off = (half.states.float() - exact.states)[inside].norm() / exact.states[inside].norm()
    assert 0 < off < 0.05


def test_autocast_and_gradients_around_it_change_nothing(encoder: Encoders) -> None:
    own = encoder("bert")
    expected = own.encode(SENTENCES).states
    layer = nn.Linear(WIDTH, 3)
    with torch.autocast("cpu", torch.bfloat16):
        states = own.encode(SENTENCES).states
    assert torch.equal(states, expected)
    layer(states).sum().backward()  # a generator is trained on them
    assert layer.weight.grad is not None


# ---------------------------------------------------------------------- names


def test_loading_draws_no_random_numbers_of_the_caller(family: Families) -> None:
    before = torch.get_rng_state()
    TransformersTextEncoder(family("bert").folder)  # draws the pooler
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_left_out_on_purpose_is_not_listed(family: Families) -> None:
    heard: list[logging.LogRecord] = []
    listener, logger = logging.Handler(), logging.getLogger("transformers")
    listener.emit = heard.append  # type: ignore[method-assign]
    logger.addHandler(listener)
    level = logger.level
    try:
        for name in ("bert", "t5", "llama"):
            TransformersTextEncoder(family(name).folder)
    finally:
        logger.removeHandler(listener)
    assert not heard
    assert logger.level == level


def test_a_fingerprint_names_what_decides_the_states(
    family: Families, encoder: Encoders, copy: Copies, tmp_path: Path
) -> None:
    own = encoder("bert").fingerprint
    assert re.fullmatch("[0-9a-f]{16}", own)
    torch.manual_seed(99)  # a pooler of another draw
    assert TransformersTextEncoder(copy("bert")).fingerprint == own
    others = (
        TransformersTextEncoder(family("bert").folder, max_length=9),
        TransformersTextEncoder(build("bert", tmp_path / "other", seed=1).folder),
        encoder("t5"),
    )
    assert len({own, *(other.fingerprint for other in others)}) == 4
    for word in ("church", "dog"):  # swapped in the vocabulary
        assert word in (tmp_path / "bert" / "tokenizer.json").read_text()
    text = (tmp_path / "bert" / "tokenizer.json").read_text()
    swapped = text.replace('"church":', '"*":').replace('"dog":', '"church":')
    (tmp_path / "bert" / "tokenizer.json").write_text(swapped.replace('"*":', '"dog":'))
    assert TransformersTextEncoder(tmp_path / "bert").fingerprint != own


def test_a_folder_is_called_by_its_path(family: Families, encoder: Encoders) -> None:
    assert encoder("clip").name == str(family("clip").folder)


def test_a_hub_id_is_called_by_its_commit(
    family: Families, encoder: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--some--encoder"
    shutil.copytree(family("clip").folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    own = TransformersTextEncoder("some/encoder", local_files_only=True)
    assert own.name == f"some/encoder@{commit}"
    assert torch.equal(own.encode(SENTENCES).states, encoder("clip").encode(SENTENCES).states)
    same = TransformersTextEncoder("some/encoder", revision=commit, local_files_only=True)
    assert (same.name, same.fingerprint) == (own.name, own.fingerprint)
    with error(f"{UNKNOWN.format('some/encoder')}", "LocalEntryNotFoundError"):
        TransformersTextEncoder("some/encoder", revision="v2", local_files_only=True)


def test_neither_pickles_nor_code_nor_copies_are_downloaded(
    family: Families, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **how: Any) -> str:
        asked.update(how, name=name)
        return str(family("t5").folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    own = TransformersTextEncoder("some/encoder", revision="v2")
    assert own.name == f"some/encoder@{family('t5').folder.name}"
    assert (asked["name"], asked["revision"]) == ("some/encoder", "v2")
    assert asked["local_files_only"] is False
    wanted = [
        *("config.json", "tokenizer.json", "vocab.txt", "merges.txt", "spiece.model"),
        *(WEIGHTS, f"{WEIGHTS}.index.json", "model-00001-of-00002.safetensors"),
    ]
    unwanted = [
        *("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "modeling_own.py", "rng.pkl"),
        *("model.fp16.safetensors", "onnx/config.json", f"text_encoder/{WEIGHTS}", "README.md"),
    ]
    filtered = import_module("huggingface_hub.utils").filter_repo_objects(
        [*wanted, *unwanted],
        allow_patterns=asked["allow_patterns"],
        ignore_patterns=asked["ignore_patterns"],
    )
    assert list(filtered) == wanted


# ---------------------------------------------------------------------- generating


@pytest.mark.parametrize("name", ["bert", "t5", "clip", "llama"])
def test_a_generator_samples_what_texts_say(encoder: Encoders, name: str) -> None:
    own = encoder(name)
    dit = lively(fresh(small_config(text_width=own.width, labels=()))).eval()

    def tokens(**request: Any) -> Tensor:
        return sample(dit, seeds=[7], text_encoder=own, steps=2, levels=2, **request).tokens

    one, other = (tokens(texts=[sentence]) for sentence in SENTENCES[:2])
    assert one.isfinite().all()
    assert (one - other).abs().max() > 0.1
    assert torch.equal(tokens(texts=SENTENCES[0]), one)
    # No text is the unconditional branch.
    assert torch.equal(tokens(texts=[""], guidance_scale=1.0), tokens())


# ---------------------------------------------------------------------- errors

UNKNOWN = (
    "A text encoder must be a hub id that can be reached or a folder, of a model that transformers "
    "can load, but '{}' is none ({{}}). Check the name, and the network if it is a hub id."
)


def test_the_library_is_asked_for_by_its_extra(
    family: Families, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = family("bert").folder
    monkeypatch.setitem(sys.modules, "transformers", None)
    with error(
        "transformers is needed here, but it is not installed. Install it with "
        "`pip install 'dcs-dit[text]'`, or encode texts yourself and pass `TextStates`."
    ):
        TransformersTextEncoder(folder)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody/no-such-model", "LocalEntryNotFoundError"),
        ("no-such-model", "LocalEntryNotFoundError"),
        ("/no/such/folder", "HFValidationError"),
        ("", "HFValidationError"),
    ],
)
def test_an_unknown_name_is_refused(name: str, reason: str) -> None:
    with error(UNKNOWN.format(name), reason):
        TransformersTextEncoder(name, local_files_only=True)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with error(UNKNOWN.format(tmp_path), "ValueError"):
        TransformersTextEncoder(tmp_path)


def test_code_that_comes_with_a_model_is_not_run(copy: Copies) -> None:
    folder = copy("bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run')")
    with error(UNKNOWN.format(folder), "ValueError"):
        TransformersTextEncoder(folder)


def test_pickled_weights_are_refused(copy: Copies) -> None:
    folder = copy("bert")
    torch.save(weights_of(folder), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with error(
        f"A text encoder's weights must be safetensors, but {folder} has none. Pickled ones are "
        "not read, since they can run code. Choose another model or revision, or convert it where "
        "you trust it, by `from_pretrained` and `save_pretrained`."
    ):
        TransformersTextEncoder(folder)


def test_weights_that_were_cut_short_are_refused(copy: Copies) -> None:
    folder = copy("bert")
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with error(UNKNOWN.format(folder), "SafetensorError"):
        TransformersTextEncoder(folder)


@pytest.mark.parametrize("is_reshaped", [False, True], ids=["missing", "reshaped"])
@pytest.mark.parametrize(
    ("name", "key", "own"),
    [
        ("bert", "bert.encoder.layer.1.output.dense.weight", "encoder.layer.1.output.dense.weight"),
        ("t5", "encoder.block.0.layer.0.SelfAttention.q.weight", ""),
        ("clip", "text_model.encoder.layers.0.mlp.fc1.weight", ""),
        ("llama", "model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
    ],
)
def test_weights_that_would_be_drawn_are_refused(
    copy: Copies, name: str, key: str, own: str, is_reshaped: bool
) -> None:
    folder = copy(name)
    weights = weights_of(folder)
    shape = weights.pop(key).shape
    if is_reshaped:
        weights[key] = torch.zeros(shape[0] + 2, *shape[1:])
    write_weights(folder, weights)
    with error(
        f"A text encoder's weights must be complete, but {folder} lacks 1 of them or has them in "
        f"another shape (first: {own or key!r}). Copy or download it again."
    ):
        TransformersTextEncoder(folder)


def test_what_is_not_needed_may_be_missing(copy: Copies, encoder: Encoders) -> None:
    folder = copy("clip")
    weights = weights_of(folder)
    write_weights(folder, {key: weights[key] for key in weights if key.startswith("text_model.")})
    states = TransformersTextEncoder(folder).encode(SENTENCES).states
    assert torch.equal(states, encoder("clip").encode(SENTENCES).states)


def test_a_folder_without_a_vocabulary_is_refused(copy: Copies) -> None:
    folder = copy("bert")
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with error(
        f"A text encoder's tokenizer must be the one that it was trained with, but the one in "
        f"{folder} has 5 tokens and the model {size}. Copy the tokenizer's files, too."
    ):
        TransformersTextEncoder(folder)


@pytest.mark.parametrize(
    ("name", "length", "least", "most"),
    [
        ("bert", POSITIONS + 1, 3, POSITIONS),
        ("bert", 2, 3, POSITIONS),
        ("t5", 31, 2, 30),
        ("gpt2", 0, 1, POSITIONS),
    ],
)
def test_a_length_that_the_model_cannot_take_is_refused(
    family: Families, name: str, length: int, least: int, most: int
) -> None:
    folder = family(name).folder
    with error(
        f"`max_length` must be between {least} and {most} for {folder}, but is {length}. "
        "Leave it out for a length that fits."
    ):
        TransformersTextEncoder(folder, max_length=length)


def test_a_length_needs_room_for_a_token_where_a_model_takes_any(copy: Copies) -> None:
    folder = copy("t5")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert TransformersTextEncoder(folder).max_length == DEFAULT_LENGTH
    assert TransformersTextEncoder(folder, max_length=5000).max_length == 5000
    with error(
        f"`max_length` must be at least 2 for {folder}, but is 1. "
        "Leave it out for a length that fits."
    ):
        TransformersTextEncoder(folder, max_length=1)


def test_texts_must_be_strings(encoder: Encoders) -> None:
    own = encoder("bert")
    with error(
        "`texts` must be a sequence of strings, but is the string 'a dog'. Put it in a list."
    ):
        own.encode("a dog")
    with error("`texts` must be strings, but number 1 is None. Use '' for no text."):
        own.encode(["a dog", None])  # type: ignore[list-item]
