"""Whether two Patients of different authorities are one person: rules, scores, grades."""
