"""The properties that must hold of the stack, each a function whose first line says it. They run in order, on one deployment."""

from access_scenarios import is_confined, keys_are_least
from image_scenarios import lists_its_parts, publishes, small_and_harmless, starts_soon
from load_scenarios import is_watched, ten_thousand_users, workshop
from model_scenarios import stays_up_alone, swaps, training, upgrade
from stack_scenarios import comes_up, composes, goes_down, reconfigures, rolls_back, rolls_forward, scales, several_nodes, survives_a_kill

ALL = [
    small_and_harmless, lists_its_parts, starts_soon, publishes, comes_up, keys_are_least, is_confined, scales, survives_a_kill, reconfigures, rolls_forward, rolls_back,
    swaps, stays_up_alone, is_watched, goes_down, composes, several_nodes,
]
# Only where they are named: the first builds one more image, two take both cores for minutes, and the last needs an image of
# version 0.1 and leaves it running.
FIGURES = [training, ten_thousand_users, workshop, upgrade]
