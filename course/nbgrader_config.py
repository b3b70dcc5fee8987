"""nbgrader's settings for the course: `make course` copies them into the classroom."""

c = get_config()  # type: ignore[name-defined]  # noqa: F821  (Jupyter provides it)
c.CourseDirectory.course_id = "imitation-learning"
c.ExecutePreprocessor.timeout = 180  # s for a cell, where it is graded
