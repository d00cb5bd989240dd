"""A stage with real servers: the main job, played before the eyes of a newcomer."""
