"""Messages, parameters, tf and the node. The only package that imports ROS."""
