/**
 * Code of a driver's error that says: nothing was asked, and the device closed the connection meanwhile. Many do so after some quiet
 * seconds; the collector opens it again at once instead of calling the device lost. All protocols use it.
 */
export const closedWhileIdle = "CONNECTION_CLOSED_IDLE";
