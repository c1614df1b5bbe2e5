extension Manifest {
    /// A time of the week in which a restart may begin.
    public struct Window: Sendable, Hashable {
        static let dayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

        /// The days, by the names above.
        public var days: [String]
        /// `HH:MM`.
        public var start: String
        /// Seconds.
        public var length: Int
    }

    /// Something that is asked before a restart.
    public struct Gate: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// How long it may take, in seconds.
        public var timeout: Int
        /// What is asked.
        public var question: Question

        /// What is asked.
        public enum Question: Sendable, Hashable {
            /// The program ends with status 0. The first element is its path.
            case command([String])
            /// The unit succeeds.
            case unit(String)
            /// There is no such file.
            case file(String)
            /// A GET of the address is answered with a status from 200 to 299.
            case http(String)
        }
    }

    /// Something that is done before a restart, and undone after it.
    public struct Drain: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// How long it may take, in seconds.
        public var timeout: Int
        /// What does it.
        public var action: Action
        /// What undoes it, or nil.
        public var undo: Action?

        /// What is run.
        public enum Action: Sendable, Hashable {
            /// A program. The first element is its path.
            case command([String])
            /// A oneshot service.
            case unit(String)
        }
    }
}
