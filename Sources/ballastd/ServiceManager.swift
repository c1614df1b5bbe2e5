import CLinux
import Glibc

/// What systemd is told of this service (sd_notify(3)); without systemd, nothing.
enum ServiceManager {
    /// It can be asked now.
    static func noteReady() { send("READY=1") }

    /// It is about to end.
    static func noteStopping() { send("STOPPING=1") }

    /// It is alive, as far as it can tell.
    static func noteAlive() { send("WATCHDOG=1") }

    /// How often it is to say that it is alive, in seconds: half of the time that systemd waits; nil where systemd does not.
    static var aliveInterval: Int? {
        guard let text = getenv("WATCHDOG_USEC").map({ String(cString: $0) }), let microseconds = Int(text) else {
            return nil
        }
        return max(microseconds / 2_000_000, 1)
    }

    private static func send(_ message: String) {
        guard let path = getenv("NOTIFY_SOCKET") else { return }
        _ = ballast_send_unix(path, message, message.utf8.count)
    }
}
