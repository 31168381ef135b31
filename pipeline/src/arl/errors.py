"""The one exception for mistakes that the user can mend."""


class InputError(ValueError):
    """Says in one sentence what is wrong with the input and what to do about it."""
