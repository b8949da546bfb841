package turnout

// Version is this client's, which is the server's of the same release.
const Version = "0.1.0"
