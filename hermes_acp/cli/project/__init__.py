"""`hermes-editor project`: what is known of projects."""
