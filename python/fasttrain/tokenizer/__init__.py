"""Floor 3: byte-level BPE, trained and applied; documents to token shards."""

from fasttrain.tokenizer.stage import TokenizerConfig as TokenizerConfig
from fasttrain.tokenizer.stage import run as run
from fasttrain.tokenizer.tokenizer import AnyTokenizer as AnyTokenizer
from fasttrain.tokenizer.tokenizer import Tokenizer as Tokenizer
from fasttrain.tokenizer.train_bpe import train_bpe as train_bpe
