"""What a caller may want to tell apart. Messages read `where: what must hold, what came; what to do`."""


class FasttrainError(Exception):
    """Base of every error that fasttrain raises on purpose; the command line prints it without a traceback."""


class ConfigError(FasttrainError, ValueError):
    """A recipe or an option is wrong: the message names the key and the remedy."""


class FormatError(FasttrainError):
    """A file is not what it should be: the message names the file."""


class CommError(FasttrainError):
    """Ranks disagree, or one of them died."""


class GateError(FasttrainError):
    """A gate of the recipe failed: the run is complete, its result is not good enough."""
