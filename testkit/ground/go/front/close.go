package front

import "net"

// Close closes a connection of the library. Its Close waits for the server's answer and for the end of the tunnel at the
// same time, and the answer brings that end about: an answer that is already there makes it say either, by chance.
func Close(conn net.Conn) error {
	err := conn.Close()
	if err != nil && err.Error() == "tunnel closed" {
		return nil
	}
	return err
}
