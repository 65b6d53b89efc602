"""What the notebooks would drown in: data, models, attacks, evaluation, plots and sliders."""
