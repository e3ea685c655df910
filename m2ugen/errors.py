"""The errors that a caller can act on. Everything else is a defect of this package."""


class M2UGenError(Exception):
    """Base of the package's own errors; the message is one line that says what is wrong and what to do."""


class InputError(M2UGenError):
    """A file, an array, an option or a prompt that cannot be used as given."""


class MissingWeights(M2UGenError):
    """Weights that are not on this machine; the message names what to install or download."""


class MissingExtra(M2UGenError):
    """An optional library that is not installed; the message names the extra to install."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; run: pip install 'm2ugen[{extra}]'")
