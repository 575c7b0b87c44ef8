"""How the field talks: bytes to values and back, blind to whether we are client or server."""
