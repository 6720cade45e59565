"""Other people's tokenizers as :class:`dcs_common.protocols.ImageTokenizer`."""
