import ArgumentParser
import Cryptography
import Publishing
import SystemPackage
import Trust

/// Which keys sign, and what opens them.
struct SigningOptions: ParsableArguments {
    @Option(help: "The directory with root.pem, targets.pem, snapshot.pem and timestamp.pem.")
    var keys: String

    @OptionGroup var passphrase: PassphraseOptions

    /// The keys of `roles` that are there.
    func load(_ roles: [MetadataRole] = MetadataRole.allCases) throws -> KeySet {
        let source = passphrase.source
        return try KeySet(FilePath(keys), roles: roles) { () throws(CryptographyFault) in
            try source.passphrase(for: "the keys in \(keys)")
        }
    }
}

/// Where a passphrase comes from.
struct PassphraseOptions: ParsableArguments {
    @Option(
        name: .customLong("passphrase-fd"),
        help: ArgumentHelp(
            "Read the passphrase from this file descriptor.",
            discussion: "Otherwise it is taken from BALLAST_PASSPHRASE, or asked for on the terminal.", valueName: "n"))
    var descriptor: Int32?

    var source: PassphraseSource { descriptor.map { .descriptor($0) } ?? .environmentOrPrompt }
}

/// How long documents are trusted after they were signed.
struct LifetimeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Days until the root expires.", valueName: "days")) var rootDays = 730
    @Option(help: ArgumentHelp("Days until the targets document expires.", valueName: "days")) var targetsDays = 365
    @Option(help: ArgumentHelp("Days until the snapshot expires.", valueName: "days")) var snapshotDays = 90
    @Option(help: ArgumentHelp("Days until the timestamp expires.", valueName: "days")) var timestampDays = 30

    var lifetimes: Lifetimes {
        Lifetimes(root: rootDays, targets: targetsDays, snapshot: snapshotDays, timestamp: timestampDays)
    }

    func validate() throws {
        for days in [rootDays, targetsDays, snapshotDays, timestampDays] where !(1...36_500).contains(days) {
            throw ValidationError("A document is good for 1 to 36500 days, not \(days).")
        }
    }
}
