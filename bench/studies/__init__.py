"""How often the gate is wrong and what a head costs: research that a reader can run again."""
