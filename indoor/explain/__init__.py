"""Why one variant is faster than another: experiments, and what their times add up to."""
