"""A folder of conditions: what it holds, the stages that fill it, the recipes that say whether it still fits."""
