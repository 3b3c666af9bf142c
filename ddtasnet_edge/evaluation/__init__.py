"""How well a model or a bundle separates: SDR per stem between a floor and a ceiling, and drift over minutes."""
