"""Work done with a trained network: pictures embedded, searched, compared and chosen for labeling."""
