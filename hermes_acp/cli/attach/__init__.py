"""`hermes-editor attach`: a session in the terminal, as an ordinary ACP client of the server."""
