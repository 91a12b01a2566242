"""What a deploy says where people look: the CI's summary page, and a pull request's comment."""
