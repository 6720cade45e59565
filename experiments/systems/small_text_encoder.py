"""A text encoder that needs no download: T5's encoder, small, with weights drawn at random.

It stands in for a trained one, of the family that the paper's size is given. What it cannot do is
to bring words of one meaning together; what it does is to give each word states of its own, which
the words around it change.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from dcs_common.torchvision_import import import_torchvision

WIDTH, LAYERS, HEADS = 64, 2, 4
_UNKNOWN, _PADDING, _END = "<unk>", "<pad>", "</s>"


def write_text_encoder(folder: Path, texts: Sequence[str], seed: int = 0) -> int:
    """Write an encoder and a tokenizer of whole words, as ``transformers`` loads them.

    Args:
        folder: where to.
        texts: whose words become its vocabulary.
        seed: draws the weights.

    Returns:
        How many words it knows, special ones counted.
    """
    if find_spec("torchvision") is not None:
        import_torchvision()  # transformers imports it where it is installed, and may need its cure
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = [_PADDING, _END, _UNKNOWN, *sorted({word for text in texts for word in text.split()})]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, numbers[_END])]
    )
    config = T5Config(
        vocab_size=len(words),
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        pad_token_id=numbers[_PADDING],
        eos_token_id=numbers[_END],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5EncoderModel(config)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=_UNKNOWN,
        pad_token=_PADDING,
        eos_token=_END,
    ).save_pretrained(folder)
    return len(words)
