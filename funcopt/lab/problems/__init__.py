"""Problems to train on: the lab's own tasks, and those that people bring."""
