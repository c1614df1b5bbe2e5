import Cryptography
import DebianArchive
import Fault
import SystemPackage

/// The numbers of accounts, which every later version has to have too.
extension ImageBuild {
    /// The accounts of `found` that the lock does not have, or not with these numbers, by name.
    private func newAccounts(_ found: LockedAccounts) -> [String] {
        let users = found.users.filter { lock.accounts.users[$0.key] != $0.value }.keys
        let groups = found.groups.filter { lock.accounts.groups[$0.key] != $0.value }.keys
        return Set(users).union(groups).sorted()
    }

    func checkAccounts(_ found: LockedAccounts) throws(AssemblyFault) {
        let new = newAccounts(found)
        guard isLocked, !new.isEmpty else { return }
        throw AssemblyFault(
            .invalidRequest, "the lock does not have the numbers of the accounts \(new.joined(separator: ", "))",
            at: .path(lockPath.string), remedy: "build once without --locked, and commit the lock")
    }

    /// Writes the accounts that the lock does not have yet into it, before any host can have files of theirs.
    ///
    /// - Returns: the digest of the lock where it was written: what another build of the same image begins with.
    func keepAccounts(
        _ found: LockedAccounts, _ note: (String) -> Void
    ) throws(AssemblyFault) -> SHA256Digest? {
        let new = newAccounts(found)
        guard !new.isEmpty else { return nil }
        var lock = lock
        lock.accounts = found
        do throws(DebianArchiveFault) {
            // Somebody may have locked, or built, in the meantime.
            var now = try Lock.load(lockPath)
            guard now.accounts == self.lock.accounts || now.accounts == found else {
                throw DebianArchiveFault(
                    .lockStale, "the lock got other accounts during the build", at: .path(lockPath.string))
            }
            now.accounts = found
            guard now == lock else {
                throw DebianArchiveFault(.lockStale, "the lock changed during the build", at: .path(lockPath.string))
            }
            let digest = try lock.write(to: lockPath)
            note("\(lockPath): has the numbers of \(new.count) accounts that it did not have; commit it")
            return digest
        } catch {
            throw AssemblyFault(
                .inputOutput, "the numbers of the accounts \(new.joined(separator: ", ")) cannot be kept",
                at: .path(lockPath.string),
                remedy: "let the lock be written, so that later versions have the same numbers",
                cause: error)
        }
    }
}
