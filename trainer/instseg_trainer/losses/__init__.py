"""Losses as functions of predictions and targets."""
