"""
Compiled ops of fasttrain. Private: call them through their Python faces.
"""

from __future__ import annotations

import collections.abc
import typing

import numpy
import numpy.typing

__all__: list[str] = [
    "BpeModel",
    "FasttextModel",
    "LineRules",
    "SentencePieceModel",
    "SentencePieceNormalizer",
    "WordCounter",
    "accumulate",
    "adamw",
    "adamw_cuda",
    "adamw_impls",
    "adamw_pieces_cuda",
    "arena_bytes",
    "arena_empty",
    "arena_trim",
    "attention",
    "attention_backward",
    "attention_cuda",
    "attention_few",
    "attention_impls",
    "attention_max_D",
    "attention_range_block",
    "attention_step",
    "attention_tensor",
    "attention_work",
    "bpe_dropout",
    "bpe_dropout_impls",
    "bpe_encode",
    "bpe_encode_impls",
    "bpe_train",
    "bpe_train_impls",
    "clip_cuda",
    "cpu_isas",
    "cuda_built",
    "dropout",
    "dropout_cuda",
    "dropout_impls",
    "embedding_backward",
    "embedding_impls",
    "fasttext_impls",
    "fasttext_predict",
    "fasttext_rows",
    "fasttext_train_impls",
    "fasttext_train_steps",
    "fasttext_windows",
    "gelu",
    "gelu_backward",
    "gelu_cuda",
    "gelu_impls",
    "hash128",
    "hash128_impls",
    "jaccard",
    "jaccard_impls",
    "join",
    "line_edit",
    "line_edit_impls",
    "line_hashes",
    "line_hashes_impls",
    "linear_cross_entropy",
    "linear_cross_entropy_cuda",
    "linear_cross_entropy_impls",
    "linear_dweight",
    "linear_loss",
    "linear_loss_impls",
    "linear_loss_work",
    "minhash",
    "minhash_impls",
    "muon_impls",
    "muon_momentum",
    "muon_step",
    "muon_step_cuda",
    "ngram_overlap",
    "ngram_overlap_impls",
    "normalize",
    "normalize_growth",
    "normalize_impls",
    "pii_count",
    "pii_fill",
    "pii_impls",
    "pretokenize",
    "pretokenize_impls",
    "rms_norm",
    "rms_norm_backward",
    "rms_norm_cuda",
    "rms_norm_cuda_max_C",
    "rms_norm_cuda_parts",
    "rms_norm_impls",
    "rms_norm_parts",
    "rope",
    "rope_cuda",
    "rope_impls",
    "sentencepiece_bpe",
    "sentencepiece_bpe_impls",
    "sentencepiece_normalize",
    "sentencepiece_normalize_impls",
    "shingle",
    "shingle_impls",
    "sketch",
    "sketch_cuda",
    "sketch_impls",
    "suffix_array",
    "suffix_array_impls",
    "sum_squares",
    "sum_squares_block",
    "sum_squares_cuda",
    "sum_squares_impls",
    "swiglu",
    "swiglu_backward",
    "swiglu_cuda",
    "swiglu_impls",
    "text_stats",
    "text_stats_impls",
    "unigram",
    "unigram_impls",
    "url_list_find",
    "url_list_impls",
    "url_list_read",
    "url_list_room",
    "url_list_sort",
    "winnow",
    "winnow_impls",
    "word_list",
    "word_list_impls",
    "word_places",
    "word_places_impls",
]

class FasttextModel:
    def __init__(self, data: numpy.typing.NDArray[numpy.uint8]) -> None: ...
    @property
    def dim(self) -> int: ...
    @property
    def labels(self) -> list[bytes]: ...
    @property
    def num_words(self) -> int: ...

class LineRules:
    def __init__(
        self,
        c4_flags: typing.SupportsInt | typing.SupportsIndex,
        c4_min_words: typing.SupportsInt | typing.SupportsIndex,
        c4_max_word_chars: typing.SupportsInt | typing.SupportsIndex,
        rw_flags: typing.SupportsInt | typing.SupportsIndex,
        rw_max_uppercase: typing.SupportsFloat | typing.SupportsIndex,
        rw_min_words: typing.SupportsInt | typing.SupportsIndex,
        rw_max_phrase_words: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...

class BpeModel:
    def __init__(
        self,
        token_data: numpy.typing.NDArray[numpy.uint8],
        token_offsets: numpy.typing.NDArray[numpy.int64],
        pairs: numpy.typing.NDArray[numpy.uint32],
        ranks: numpy.typing.NDArray[numpy.uint32],
        id_of_rank: numpy.typing.NDArray[numpy.uint32],
        byte_ids: numpy.typing.NDArray[numpy.uint32],
        added_data: numpy.typing.NDArray[numpy.uint8],
        added_offsets: numpy.typing.NDArray[numpy.int64],
        added_ids: numpy.typing.NDArray[numpy.uint32],
        pattern: typing.SupportsInt | typing.SupportsIndex,
        ignore_merges: bool,
        cache_bytes: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...

class WordCounter:
    def __init__(self, pattern: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def add(
        self,
        data: numpy.typing.NDArray[numpy.uint8],
        offsets: numpy.typing.NDArray[numpy.int64],
        threads: typing.SupportsInt | typing.SupportsIndex,
        impl: str,
    ) -> None: ...
    def add_counted(
        self,
        data: numpy.typing.NDArray[numpy.uint8],
        offsets: numpy.typing.NDArray[numpy.int64],
        counts: numpy.typing.NDArray[numpy.int64],
    ) -> None: ...
    def exceeds(self, num_words: typing.SupportsInt | typing.SupportsIndex) -> bool: ...
    def merge(self, other: WordCounter, times: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def sizes(self) -> tuple[int, int]: ...
    def words(
        self,
        data: numpy.typing.NDArray[numpy.uint8],
        offsets: numpy.typing.NDArray[numpy.int64],
        counts: numpy.typing.NDArray[numpy.int64],
    ) -> None: ...

class SentencePieceNormalizer:
    def __init__(
        self,
        units: numpy.typing.NDArray[numpy.uint32],
        strings: numpy.typing.NDArray[numpy.uint8],
        symbol_data: numpy.typing.NDArray[numpy.uint8],
        symbol_offsets: numpy.typing.NDArray[numpy.int64],
        add_dummy_prefix: bool,
        remove_extra_whitespaces: bool,
        escape_whitespaces: bool,
        whitespace_as_suffix: bool,
    ) -> None: ...
    def room(
        self, bytes: typing.SupportsInt | typing.SupportsIndex, texts: typing.SupportsInt | typing.SupportsIndex
    ) -> int: ...

class SentencePieceModel:
    def __init__(
        self,
        piece_data: numpy.typing.NDArray[numpy.uint8],
        piece_offsets: numpy.typing.NDArray[numpy.int64],
        scores: numpy.typing.NDArray[numpy.float32],
        kinds: numpy.typing.NDArray[numpy.uint8],
        byte_ids: numpy.typing.NDArray[numpy.uint32],
        pairs: numpy.typing.NDArray[numpy.uint32],
        results: numpy.typing.NDArray[numpy.uint32],
        has_list: bool,
        wide_scores: numpy.typing.NDArray[numpy.float64],
        wide_min: typing.SupportsFloat | typing.SupportsIndex,
        splits_words: bool,
        unk_id: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...

def accumulate(
    part: numpy.ndarray,
    sum: numpy.ndarray,
    lower: numpy.typing.NDArray[numpy.uint16] | None,
    keep: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    sum = or += part.
    """

def adamw(
    param: numpy.ndarray,
    grad: numpy.ndarray,
    m: numpy.typing.NDArray[numpy.float32],
    v: numpy.typing.NDArray[numpy.float32],
    copy: numpy.typing.NDArray[numpy.uint16] | None,
    coefficients: numpy.typing.NDArray[numpy.float32],
    zero_grad: bool,
    seed: typing.SupportsInt | typing.SupportsIndex,
    step: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    pitch: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def adamw_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    N: typing.SupportsInt | typing.SupportsIndex,
    coefficients: numpy.typing.NDArray[numpy.float32],
    zero: bool,
    place: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    param, grad, m, v, copy, scale on the device; place: seed, step, stream, offset, width, pitch.
    """

def adamw_impls() -> list[str]: ...
def adamw_pieces_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    coefficients: numpy.typing.NDArray[numpy.float32],
    zero: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    param (fp32), grad, m, v, copy of each piece on the device; values of each; coefficients (K, 8).
    """

def arena_bytes() -> tuple[int, int]:
    """
    Bytes of the arena in use, and held from the system.
    """

def arena_empty(bytes: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.uint8] | None:
    """
    Uninitialised memory (bytes,) of the arena, which takes it back when it is freed; None: no room.
    """

def arena_trim(bytes: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Give the system pages of free blocks, until they are `bytes` together.
    """

def attention(
    q: numpy.ndarray,
    k: numpy.ndarray,
    v: numpy.ndarray,
    lo: numpy.typing.NDArray[numpy.int32],
    hi: numpy.typing.NDArray[numpy.int32],
    out: numpy.ndarray,
    stats: numpy.typing.NDArray[numpy.float32],
    work: numpy.typing.NDArray[numpy.float32],
    scale: typing.SupportsFloat | typing.SupportsIndex,
    softcap: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def attention_backward(
    q: numpy.ndarray,
    k: numpy.ndarray,
    v: numpy.ndarray,
    lo: numpy.typing.NDArray[numpy.int32],
    hi: numpy.typing.NDArray[numpy.int32],
    out: numpy.ndarray,
    stats: numpy.typing.NDArray[numpy.float32],
    dout: numpy.ndarray,
    dq: numpy.ndarray,
    dk: numpy.ndarray,
    dv: numpy.ndarray,
    work: numpy.typing.NDArray[numpy.float32],
    scale: typing.SupportsFloat | typing.SupportsIndex,
    softcap: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def attention_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    scale: typing.SupportsFloat | typing.SupportsIndex,
    bf16: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    q, k, v, lo, hi, out, stats on the device; B, Bm, Tq, Tk, H, Hkv, D.
    """

def attention_impls() -> list[str]: ...
def attention_step(
    q: typing.SupportsInt | typing.SupportsIndex,
    k: typing.SupportsInt | typing.SupportsIndex,
    v: typing.SupportsInt | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    q_shape: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"],
    k_shape: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"],
    q_strides: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"],
    k_strides: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"],
    v_strides: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"],
    bf16: bool,
    causal: bool,
    window: typing.SupportsInt | typing.SupportsIndex,
    scale: typing.SupportsFloat | typing.SupportsIndex,
    softcap: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    q, k, v, out by their addresses, out contiguous; shapes and strides as torch gives them; window 0: none.
    """

def attention_tensor(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    scale: typing.SupportsFloat | typing.SupportsIndex,
    backward: bool,
    wgmma: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    q, k, v, lo, hi, out, lse, dout, dq, dk, dv, rows, ranges on the device; B, Bm, Tq, Tk, H, Hkv, D.
    """

def attention_work(
    B: typing.SupportsInt | typing.SupportsIndex,
    Tq: typing.SupportsInt | typing.SupportsIndex,
    Tk: typing.SupportsInt | typing.SupportsIndex,
    H: typing.SupportsInt | typing.SupportsIndex,
    Hkv: typing.SupportsInt | typing.SupportsIndex,
    D: typing.SupportsInt | typing.SupportsIndex,
    bf16: bool,
    backward: bool,
) -> int: ...
def bpe_dropout(
    model: BpeModel,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    ids: numpy.typing.NDArray[numpy.uint32],
    ends: numpy.typing.NDArray[numpy.int64],
    eot: typing.SupportsInt | typing.SupportsIndex,
    finds_added: bool,
    seed: typing.SupportsInt | typing.SupportsIndex,
    threshold: typing.SupportsInt | typing.SupportsIndex,
    first_text: typing.SupportsInt | typing.SupportsIndex,
    numbers: numpy.typing.NDArray[numpy.uint64],
    begins: numpy.typing.NDArray[numpy.uint64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def bpe_dropout_impls() -> list[str]: ...
def bpe_encode(
    model: BpeModel,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    ids: numpy.typing.NDArray[numpy.uint32],
    ends: numpy.typing.NDArray[numpy.int64],
    eot: typing.SupportsInt | typing.SupportsIndex,
    finds_added: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def bpe_encode_impls() -> list[str]: ...
def bpe_train(
    symbols: numpy.typing.NDArray[numpy.uint32],
    word_offsets: numpy.typing.NDArray[numpy.int64],
    word_counts: numpy.typing.NDArray[numpy.int64],
    token_data: numpy.typing.NDArray[numpy.uint8],
    token_offsets: numpy.typing.NDArray[numpy.int64],
    given: numpy.typing.NDArray[numpy.uint32],
    token_sizes: numpy.typing.NDArray[numpy.uint32],
    pairs: numpy.typing.NDArray[numpy.uint32],
    ids: numpy.typing.NDArray[numpy.uint32],
    vocab_size: typing.SupportsInt | typing.SupportsIndex,
    min_frequency: typing.SupportsInt | typing.SupportsIndex,
    reuses_ids: bool,
    max_size: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> int: ...
def bpe_train_impls() -> list[str]: ...
def clip_cuda(
    blocks: typing.SupportsInt | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    P: typing.SupportsInt | typing.SupportsIndex,
    clip: typing.SupportsFloat | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int: ...
def cpu_isas() -> list[str]:
    """
    Instruction sets of this CPU that an implementation may ask for.
    """

def cuda_built() -> bool:
    """
    Whether this build holds the CUDA implementations.
    """

def dropout(
    x: numpy.ndarray,
    rows: numpy.typing.NDArray[numpy.int64],
    out: numpy.ndarray,
    seed: typing.SupportsInt | typing.SupportsIndex,
    step: typing.SupportsInt | typing.SupportsIndex,
    site: typing.SupportsInt | typing.SupportsIndex,
    threshold: typing.SupportsInt | typing.SupportsIndex,
    scale: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def dropout_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    seed: typing.SupportsInt | typing.SupportsIndex,
    step: typing.SupportsInt | typing.SupportsIndex,
    site: typing.SupportsInt | typing.SupportsIndex,
    threshold: typing.SupportsInt | typing.SupportsIndex,
    scale: typing.SupportsFloat | typing.SupportsIndex,
    bf16: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    x, rows, out on the device; B, E.
    """

def dropout_impls() -> list[str]: ...
def embedding_backward(
    dout: numpy.ndarray,
    ids: numpy.typing.NDArray[numpy.int64],
    dweight: numpy.ndarray,
    order: numpy.typing.NDArray[numpy.int64],
    starts: numpy.typing.NDArray[numpy.int64],
    is_zeroed: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def embedding_impls() -> list[str]: ...
def fasttext_impls() -> list[str]: ...
def fasttext_predict(
    model: FasttextModel,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    labels: numpy.typing.NDArray[numpy.int32],
    probs: numpy.typing.NDArray[numpy.float32],
    max_chars: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def fasttext_rows(
    model: FasttextModel,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    rows: numpy.typing.NDArray[numpy.int32],
    places: numpy.typing.NDArray[numpy.int64],
    counts: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def fasttext_train_impls() -> list[str]: ...
def fasttext_train_steps(
    input: numpy.typing.NDArray[numpy.float32],
    output: numpy.typing.NDArray[numpy.float32],
    rows: numpy.typing.NDArray[numpy.int32],
    offsets: numpy.typing.NDArray[numpy.int64],
    labels: numpy.typing.NDArray[numpy.int32],
    order: numpy.typing.NDArray[numpy.int64],
    rates: numpy.typing.NDArray[numpy.float32],
    scratch: numpy.typing.NDArray[numpy.float32],
    impl: str,
) -> float: ...
def fasttext_windows(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    ends: numpy.typing.NDArray[numpy.int64],
    counts: numpy.typing.NDArray[numpy.int64],
    min_chars: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def gelu(
    x: typing.SupportsInt | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    N: typing.SupportsInt | typing.SupportsIndex,
    bf16: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    x and out by their addresses, N values each.
    """

def gelu_backward(
    dout: typing.SupportsInt | typing.SupportsIndex,
    x: typing.SupportsInt | typing.SupportsIndex,
    dx: typing.SupportsInt | typing.SupportsIndex,
    N: typing.SupportsInt | typing.SupportsIndex,
    bf16: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    dout, x and dx by their addresses, N values each.
    """

def gelu_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    N: typing.SupportsInt | typing.SupportsIndex,
    bf16: bool,
    backward: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    x, out, dout, dx on the device.
    """

def gelu_impls() -> list[str]: ...
def hash128(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.uint64],
    seed: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def hash128_impls() -> list[str]: ...
def jaccard(
    a: numpy.typing.NDArray[numpy.uint64],
    a_offsets: numpy.typing.NDArray[numpy.int64],
    b: numpy.typing.NDArray[numpy.uint64],
    b_offsets: numpy.typing.NDArray[numpy.int64],
    pairs: numpy.typing.NDArray[numpy.int64],
    common: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def jaccard_impls() -> list[str]: ...
def join(
    upper: numpy.typing.NDArray[numpy.uint16],
    lower: numpy.typing.NDArray[numpy.uint16],
    scale: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    upper = bf16(scale sum).
    """

def line_edit(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    edit: numpy.typing.NDArray[numpy.uint8],
    out: numpy.typing.NDArray[numpy.uint8],
    out_offsets: numpy.typing.NDArray[numpy.int64],
    bad: numpy.typing.NDArray[numpy.int64],
    rules: LineRules,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def line_edit_impls() -> list[str]: ...
def line_hashes(
    data: numpy.typing.NDArray[numpy.uint8],
    begins: numpy.typing.NDArray[numpy.int64],
    ends: numpy.typing.NDArray[numpy.int64],
    hash: numpy.typing.NDArray[numpy.uint64],
    words: numpy.typing.NDArray[numpy.int64],
    digits: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def line_hashes_impls() -> list[str]: ...
def linear_cross_entropy(
    logits: numpy.ndarray,
    targets: numpy.typing.NDArray[numpy.int64],
    dnll: numpy.typing.NDArray[numpy.float32] | None,
    dz2: numpy.typing.NDArray[numpy.float32] | None,
    nll: numpy.typing.NDArray[numpy.float32],
    z2: numpy.typing.NDArray[numpy.float32],
    z_loss: typing.SupportsFloat | typing.SupportsIndex,
    gradient: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def linear_cross_entropy_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    z_loss: typing.SupportsFloat | typing.SupportsIndex,
    bf16: bool,
    gradient: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    logits, targets, dnll, dz2, nll, z2 on the device; N, V, pitch.
    """

def linear_cross_entropy_impls() -> list[str]: ...
def linear_dweight(
    exps: numpy.typing.NDArray[numpy.uint32],
    factors: numpy.typing.NDArray[numpy.float32],
    x: numpy.typing.NDArray[numpy.uint16],
    targets: numpy.typing.NDArray[numpy.int64],
    sum: numpy.ndarray,
    lower: numpy.typing.NDArray[numpy.uint16] | None,
    work: numpy.typing.NDArray[numpy.uint32],
    keep: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    sum = or += dlogits^T x.
    """

def linear_loss(
    x: numpy.typing.NDArray[numpy.uint16],
    weight: numpy.ndarray,
    targets: numpy.typing.NDArray[numpy.int64],
    dnll: numpy.typing.NDArray[numpy.float32] | None,
    dz2: numpy.typing.NDArray[numpy.float32] | None,
    nll: numpy.typing.NDArray[numpy.float32],
    z2: numpy.typing.NDArray[numpy.float32],
    factors: numpy.typing.NDArray[numpy.float32],
    exps: numpy.typing.NDArray[numpy.uint32] | None,
    dx: numpy.typing.NDArray[numpy.uint16] | None,
    work: numpy.typing.NDArray[numpy.uint32],
    z_loss: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    Losses, exponentials and dx of a chunk of tokens.
    """

def linear_loss_impls() -> list[str]: ...
def linear_loss_work(
    N: typing.SupportsInt | typing.SupportsIndex,
    C: typing.SupportsInt | typing.SupportsIndex,
    is_cast: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    Numbers of 32 bits.
    """

def minhash(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    a: numpy.typing.NDArray[numpy.uint32],
    b: numpy.typing.NDArray[numpy.uint32],
    out: numpy.typing.NDArray[numpy.uint32],
    words: numpy.typing.NDArray[numpy.int64],
    n: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def minhash_impls() -> list[str]: ...
def muon_impls() -> list[str]: ...
def muon_momentum(
    grad: numpy.typing.NDArray[numpy.float32],
    m: numpy.typing.NDArray[numpy.float32],
    grad_scale: typing.SupportsFloat | typing.SupportsIndex,
    one_minus_momentum: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def muon_step(
    param: numpy.ndarray,
    update: numpy.ndarray,
    keep: typing.SupportsFloat | typing.SupportsIndex,
    rate: typing.SupportsFloat | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex,
    step: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    pitch: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def muon_step_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    N: typing.SupportsInt | typing.SupportsIndex,
    keep: typing.SupportsFloat | typing.SupportsIndex,
    rate: typing.SupportsFloat | typing.SupportsIndex,
    place: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    fp32 parameters or bf16 ones, fp32 update or bf16 one on the device, the others null; place: as of adamw_cuda.
    """

def ngram_overlap(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    texts: numpy.typing.NDArray[numpy.int64],
    keys: numpy.typing.NDArray[numpy.uint64],
    filter: numpy.typing.NDArray[numpy.uint64],
    counts: numpy.typing.NDArray[numpy.int64],
    starts: numpy.typing.NDArray[numpy.int64],
    words: numpy.typing.NDArray[numpy.int64],
    grams: numpy.typing.NDArray[numpy.int64],
    n: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def ngram_overlap_impls() -> list[str]: ...
def normalize(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.uint8],
    source: numpy.typing.NDArray[numpy.int64] | None,
    ends: numpy.typing.NDArray[numpy.int64],
    step: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def normalize_growth(step: typing.SupportsInt | typing.SupportsIndex) -> int: ...
def normalize_impls() -> list[str]: ...
def pii_count(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    counts: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def pii_fill(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    starts: numpy.typing.NDArray[numpy.int64],
    begins: numpy.typing.NDArray[numpy.int64],
    ends: numpy.typing.NDArray[numpy.int64],
    kinds: numpy.typing.NDArray[numpy.uint8],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def pii_impls() -> list[str]: ...
def pretokenize(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    ends: numpy.typing.NDArray[numpy.int64],
    counts: numpy.typing.NDArray[numpy.int64],
    pattern: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def pretokenize_impls() -> list[str]: ...
def rms_norm(
    x: typing.SupportsInt | typing.SupportsIndex,
    residual: typing.SupportsInt | typing.SupportsIndex,
    weight: typing.SupportsInt | typing.SupportsIndex,
    r: typing.SupportsInt | typing.SupportsIndex,
    y: typing.SupportsInt | typing.SupportsIndex,
    rstd: typing.SupportsInt | typing.SupportsIndex,
    N: typing.SupportsInt | typing.SupportsIndex,
    C: typing.SupportsInt | typing.SupportsIndex,
    x_bf16: bool,
    r_bf16: bool,
    eps: typing.SupportsFloat | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    Tensors by their addresses, contiguous; 0 for those that a plain norm has not.
    """

def rms_norm_backward(
    dy: numpy.ndarray,
    dr: numpy.ndarray | None,
    r: numpy.ndarray,
    weight: numpy.typing.NDArray[numpy.float32],
    rstd: numpy.typing.NDArray[numpy.float32],
    dresidual: numpy.ndarray,
    dx: numpy.ndarray | None,
    dweight: numpy.typing.NDArray[numpy.float32],
    parts: numpy.typing.NDArray[numpy.float32],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def rms_norm_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    eps: typing.SupportsFloat | typing.SupportsIndex,
    x_bf16: bool,
    r_bf16: bool,
    y_bf16: bool,
    backward: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    x, residual, weight, r, y, rstd, dy, dr, dresidual, dx, dweight, parts on the device; N, C.
    """

def rms_norm_impls() -> list[str]: ...
def rms_norm_parts(
    N: typing.SupportsInt | typing.SupportsIndex, C: typing.SupportsInt | typing.SupportsIndex
) -> int: ...
def rope(
    x: typing.SupportsInt | typing.SupportsIndex,
    cos: typing.SupportsInt | typing.SupportsIndex,
    sin: typing.SupportsInt | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    shape: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"],
    Bt: typing.SupportsInt | typing.SupportsIndex,
    bf16: bool,
    inverse: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    x, cos, sin and out by their addresses, contiguous; shape: B, T, H, D.
    """

def rope_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    bf16: bool,
    inverse: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    x, cos, sin, out on the device; B, T, H, D, Bt.
    """

def rope_impls() -> list[str]: ...
def sentencepiece_bpe(
    model: SentencePieceModel,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    ids: numpy.typing.NDArray[numpy.uint32],
    ends: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def sentencepiece_bpe_impls() -> list[str]: ...
def sentencepiece_normalize(
    normalizer: SentencePieceNormalizer,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.uint8],
    ends: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def sentencepiece_normalize_impls() -> list[str]: ...
def shingle(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.uint64],
    out_offsets: numpy.typing.NDArray[numpy.int64],
    n: typing.SupportsInt | typing.SupportsIndex,
    sets: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def shingle_impls() -> list[str]: ...
def sketch(
    shingles: numpy.typing.NDArray[numpy.uint64],
    offsets: numpy.typing.NDArray[numpy.int64],
    a: numpy.typing.NDArray[numpy.uint32],
    b: numpy.typing.NDArray[numpy.uint32],
    out: numpy.typing.NDArray[numpy.uint32],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def sketch_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    N: typing.SupportsInt | typing.SupportsIndex,
    K: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    shingles, offsets, a, b, sig on the device.
    """

def sketch_impls() -> list[str]: ...
def suffix_array(
    text: numpy.typing.NDArray[numpy.uint8],
    sa: numpy.typing.NDArray[numpy.int32],
    lcp: numpy.typing.NDArray[numpy.int32],
    impl: str,
) -> None: ...
def suffix_array_impls() -> list[str]: ...
def sum_squares(
    x: numpy.typing.NDArray[numpy.float32],
    out: numpy.typing.NDArray[numpy.float64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def sum_squares_cuda(
    tensors: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    out: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    fp32 tensors and fp64 sums of their blocks on the device.
    """

def sum_squares_impls() -> list[str]: ...
def swiglu(
    gate: typing.SupportsInt | typing.SupportsIndex,
    up: typing.SupportsInt | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    N: typing.SupportsInt | typing.SupportsIndex,
    bf16: bool,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None:
    """
    gate, up and out by their addresses, N values each.
    """

def swiglu_backward(
    dout: numpy.ndarray,
    gate: numpy.ndarray,
    up: numpy.ndarray,
    dgate: numpy.ndarray,
    dup: numpy.ndarray,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def swiglu_cuda(
    pointers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    bf16: bool,
    backward: bool,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    gate, up, out, dout, and dgate with dup at its side, on the device; sizes: rows, columns.
    """

def swiglu_impls() -> list[str]: ...
def text_stats(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.int64],
    bad: numpy.typing.NDArray[numpy.int64],
    edit: numpy.typing.NDArray[numpy.uint8],
    edited: numpy.typing.NDArray[numpy.uint8],
    edited_offsets: numpy.typing.NDArray[numpy.int64],
    rules: LineRules,
    short_line_chars: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def text_stats_impls() -> list[str]: ...
def unigram(
    model: SentencePieceModel,
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    ids: numpy.typing.NDArray[numpy.uint32],
    ends: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def unigram_impls() -> list[str]: ...
def url_list_find(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.uint8],
    odd: numpy.typing.NDArray[numpy.uint8],
    domains: numpy.typing.NDArray[numpy.uint64],
    domain_starts: numpy.typing.NDArray[numpy.int64],
    urls: numpy.typing.NDArray[numpy.uint64],
    url_starts: numpy.typing.NDArray[numpy.int64],
    words: numpy.typing.NDArray[numpy.uint64],
    word_starts: numpy.typing.NDArray[numpy.int64],
    word_bytes: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def url_list_impls() -> list[str]: ...
def url_list_read(
    data: numpy.typing.NDArray[numpy.uint8],
    out: numpy.typing.NDArray[numpy.uint64],
    odd: numpy.typing.NDArray[numpy.int64],
    counts: numpy.typing.NDArray[numpy.int64],
    kind: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def url_list_room(data: numpy.typing.NDArray[numpy.uint8], kind: typing.SupportsInt | typing.SupportsIndex) -> int: ...
def url_list_sort(
    hashes: numpy.typing.NDArray[numpy.uint64],
    out: numpy.typing.NDArray[numpy.uint64],
    starts: numpy.typing.NDArray[numpy.int64],
    count: numpy.typing.NDArray[numpy.int64],
    impl: str,
) -> None: ...
def winnow(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    k: typing.SupportsInt | typing.SupportsIndex,
    w: typing.SupportsInt | typing.SupportsIndex,
    hash: numpy.typing.NDArray[numpy.uint64],
    text: numpy.typing.NDArray[numpy.int64],
    begin: numpy.typing.NDArray[numpy.int64],
    impl: str,
) -> int: ...
def winnow_impls() -> list[str]: ...
def word_list(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    which: numpy.typing.NDArray[numpy.int32],
    counts: numpy.typing.NDArray[numpy.int64],
    roots: numpy.typing.NDArray[numpy.int32],
    heads: numpy.typing.NDArray[numpy.uint8],
    pairs: numpy.typing.NDArray[numpy.uint8],
    firsts: numpy.typing.NDArray[numpy.uint8],
    edges: numpy.typing.NDArray[numpy.int32],
    bytes: numpy.typing.NDArray[numpy.uint8],
    next: numpy.typing.NDArray[numpy.int32],
    kinds: numpy.typing.NDArray[numpy.uint8],
    window: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
    impl: str,
) -> None: ...
def word_list_impls() -> list[str]: ...
def word_places(
    data: numpy.typing.NDArray[numpy.uint8],
    offsets: numpy.typing.NDArray[numpy.int64],
    places: numpy.typing.NDArray[numpy.int64],
    word_offsets: numpy.typing.NDArray[numpy.int64],
    impl: str,
) -> None: ...
def word_places_impls() -> list[str]: ...

attention_few: int = 32
attention_max_D: int = 256
attention_range_block: int = 64
rms_norm_cuda_max_C: int = 8192
rms_norm_cuda_parts: int = 264
sum_squares_block: int = 65536
