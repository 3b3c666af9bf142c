"""How long a hop would take on a board that is not here: profiles, costs of a step, a model, and how far it is off."""
