//! Sources of the mesh: manifest files and Kubernetes watches, and their pure translation.
