"""The settings: one tree of models, loaded from TOML and the environment."""
