"""The packages that never import one another fit: what dcs-dit generates, dcs-tok decodes."""

from dcs_dit import DCSDiT, sample
from dcs_tok import DCSTok


def test_the_bundled_generator_s_tokenizer_is_bundled_too() -> None:
    config = DCSDiT.from_pretrained().config
    assert config.tokenizer_model in DCSTok.bundled
    tok = DCSTok.from_pretrained(config.tokenizer_model)
    assert tok.fingerprint == config.tokenizer
    assert tok.config.num_levels >= config.num_levels
    assert tok.config.latent_channels == config.latent_channels
    assert tok.config.segments_per_second == config.segments_per_second


def test_samples_decode_at_the_trained_size_and_at_any_other() -> None:
    dit = DCSDiT.from_pretrained()
    tok = DCSTok.from_pretrained(dit.config.tokenizer_model)
    latents = sample(dit, labels=["church"], seeds=[1], steps=2)
    assert tok.decode(latents).shape == (1, 3, 128, 128)
    assert tok.decode(latents, size=(96, 200), levels=2).shape == (1, 3, 96, 200)
