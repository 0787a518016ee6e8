"""What tests share: small tasks and plugins, broken ones, stand-ins for servers, and readers of pages."""
