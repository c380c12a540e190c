"""SSH signatures against the real `ssh-keygen`, both ways, and against everything that is not one."""

import base64
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.approval_people import private

from verdigris.approvals.signing import CannotSign, FileSigner, ProgramSigner, open_signer
from verdigris.approvals.ssh_key import InvalidPublicKey, KeyType, PublicKey
from verdigris.approvals.ssh_signature import NAMESPACE, InvalidSshSignature, MessageHash, SshSignature, signed_data, verify_raw
from verdigris.approvals.ssh_wire import Reader, mpint, string, uint32

MESSAGE = b'{"decision":"give"}'
KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa-256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa-384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa-521": ("-t", "ecdsa", "-b", "521"),
    "rsa-2048": ("-t", "rsa", "-b", "2048"),
    "rsa-3072": ("-t", "rsa", "-b", "3072"),
    "ecdsa-256 in PEM": ("-t", "ecdsa", "-b", "256", "-m", "PEM"),
    "rsa-2048 in PKCS #8": ("-t", "rsa", "-b", "2048", "-m", "PKCS8"),
}


def program() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    return found


def ssh_keygen(*arguments: str | Path, message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program(), *arguments], input=message, capture_output=True, timeout=60, check=False)


def new_key(file: Path, *kind: str, passphrase: str = "") -> Path:
    made = ssh_keygen("-q", *kind, "-N", passphrase, "-C", "somebody's key", "-f", file)
    assert made.returncode == 0, made.stderr
    return file


@pytest.fixture(scope="module")
def key_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder, made = tmp_path_factory.mktemp("keys"), dict[str, Path]()

    def key(kind: str) -> Path:
        if kind not in made:
            made[kind] = new_key(folder / kind.replace(" ", "_").replace("#", ""), *KINDS[kind])
        return made[kind]

    return key


def by_ssh_keygen(key: Path, *options: str, namespace: str = NAMESPACE, message: bytes = MESSAGE) -> str:
    done = ssh_keygen("-Y", "sign", "-f", key, "-n", namespace, *options, message=message)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def is_accepted_by_ssh_keygen(folder: Path, signature: SshSignature, message: bytes = MESSAGE) -> bool:
    (folder / "signers").write_text(f'somebody namespaces="{NAMESPACE}" {signature.key}\n')
    (folder / "signature").write_text(str(signature))
    done = ssh_keygen(
        "-Y", "verify", "-f", folder / "signers", "-I", "somebody", "-n", NAMESPACE, "-s", folder / "signature", message=message
    )  # fmt: skip
    return done.returncode == 0


# -- hardware keys, in software ---------------------------------------------------------------------------------------------------


@dataclass
class Hardware:
    """What a FIDO key does: PROTOCOL.u2f."""

    private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    flags: int = 1
    application: str = "ssh:"

    @property
    def key(self) -> PublicKey:
        if isinstance(self.private, Ed25519PrivateKey):
            return PublicKey(string(KeyType.SK_ED25519.value) + string(self.private.public_key().public_bytes_raw()) + self._application)
        point = self.private.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return PublicKey(string(KeyType.SK_ECDSA.value) + string("nistp256") + string(point) + self._application)

    @property
    def _application(self) -> bytes:
        return string(self.application)

    def sign(self, message: bytes) -> SshSignature:
        after = bytes([self.flags]) + uint32(7)
        data = sha256(self.application.encode()).digest() + after + sha256(signed_data(message)).digest()
        if isinstance(self.private, Ed25519PrivateKey):
            raw = self.private.sign(data)
        else:
            raw = b"".join(map(mpint, decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))))
        return SshSignature(self.key, NAMESPACE, MessageHash.SHA512, string(self.key.type.value) + string(raw) + after)


HARDWARE = [Hardware(private("hardware")), Hardware(ec.derive_private_key(4711, ec.SECP256R1()))]


# -- theirs and ours --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [(), ("-O", "hashalg=sha256")], ids=["sha512", "sha256"])
def test_what_ssh_keygen_signs_is_verified(key_of: Callable[[str], Path], kind: str, options: tuple[str, ...]) -> None:
    armored = by_ssh_keygen(key_of(kind), *options)
    signature = SshSignature.parse(armored)
    signature.verify(MESSAGE)
    assert str(signature) == armored
    assert signature.hash == (MessageHash.SHA256 if options else MessageHash.SHA512)
    for message in (MESSAGE + b"\n", MESSAGE[:-1], b""):
        with pytest.raises(InvalidSshSignature, match="has not signed this"):
            signature.verify(message)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_key_file_signs_is_accepted_by_ssh_keygen(tmp_path: Path, key_of: Callable[[str], Path], kind: str) -> None:
    signer = open_signer(str(key_of(kind)), {})
    assert isinstance(signer, FileSigner)
    signature = signer.sign(MESSAGE)
    assert is_accepted_by_ssh_keygen(tmp_path, signature)
    assert not is_accepted_by_ssh_keygen(tmp_path, signature, MESSAGE + b" ")


@pytest.mark.parametrize("kind", KINDS)
def test_public_keys_are_those_of_the_pub_files(key_of: Callable[[str], Path], kind: str) -> None:
    file = key_of(kind).with_name(key_of(kind).name + ".pub")
    key = PublicKey.parse(file.read_text())
    assert str(key) + "\n" == file.read_text()
    assert key.comment == "somebody's key"
    assert key.fingerprint == ssh_keygen("-l", "-f", file).stdout.decode().split()[1]
    assert SshSignature.parse(by_ssh_keygen(key_of(kind))).key == key


@pytest.mark.parametrize("hardware", HARDWARE, ids=["ed25519", "ecdsa"])
def test_keys_in_hardware(tmp_path: Path, hardware: Hardware) -> None:
    signature = hardware.sign(MESSAGE)
    signature.verify(MESSAGE)
    assert SshSignature.parse(str(signature)) == signature
    assert is_accepted_by_ssh_keygen(tmp_path, signature)
    with pytest.raises(InvalidSshSignature, match="has not signed"):
        signature.verify(MESSAGE + b" ")
    with pytest.raises(InvalidSshSignature, match="nobody touched"):
        Hardware(hardware.private, flags=4).sign(MESSAGE).verify(MESSAGE)


def test_a_signature_for_another_purpose_is_none(key_of: Callable[[str], Path]) -> None:
    signature = SshSignature.parse(by_ssh_keygen(key_of("ed25519"), namespace="git"))
    with pytest.raises(InvalidSshSignature, match=r"is for 'git' and not for 'approval@verdigris\.dev'"):
        signature.verify(MESSAGE)
    renamed = SshSignature(signature.key, NAMESPACE, signature.hash, signature.raw)
    with pytest.raises(InvalidSshSignature, match="has not signed"):
        renamed.verify(MESSAGE)


def test_lines_may_be_long_short_or_from_windows(key_of: Callable[[str], Path]) -> None:
    armored = by_ssh_keygen(key_of("ed25519"))
    begin, *lines, end, _ = armored.split("\n")
    for spelled in (armored[:-1], armored.replace("\n", "\r\n"), "\n".join([begin, "".join(lines), end])):
        assert str(SshSignature.parse(spelled)) == armored
    for wrong in (" " + armored, armored + "\n", armored + " ", armored * 2, armored.lower(), "", begin, f"{begin}\n{end}", "\n" + armored):
        with pytest.raises(InvalidSshSignature):
            SshSignature.parse(wrong)


def with_something_left_over(encoded: str) -> str:
    """The same bytes in base64, spelled otherwise: bits that belong to no byte are not zero."""
    at = len(encoded.rstrip("=")) - 1
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spelled = encoded[:at] + letters[letters.index(encoded[at]) + 1] + encoded[at + 1 :]
    assert base64.b64decode(spelled, validate=True) == base64.b64decode(encoded)
    return spelled


def test_base64_has_one_spelling() -> None:
    key, raw = PublicKey.of(private("a").public_key()), FileSigner.of(private("a")).sign(MESSAGE).raw
    for namespace in ("a", "ab", "abc"):
        begin, *lines, end, _ = str(SshSignature(key, namespace, MessageHash.SHA512, raw)).split("\n")
        encoded = "".join(lines)
        if encoded.endswith("="):
            with pytest.raises(InvalidSshSignature, match="something left over"):
                SshSignature.parse("\n".join([begin, with_something_left_over(encoded), end]))
    line = str(PublicKey.of(ec.derive_private_key(5, ec.SECP256R1()).public_key()))
    assert line.endswith("=")
    with pytest.raises(InvalidPublicKey, match="in base64"):
        PublicKey.parse(f"ecdsa-sha2-nistp256 {with_something_left_over(line.split()[1])}")


# -- every flipped bit ------------------------------------------------------------------------------------------------------------


def flips(data: bytes) -> list[bytes]:
    return [data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :] for bit in range(8 * len(data))]


def is_believed(parse: Callable[[], SshSignature], message: bytes = MESSAGE) -> bool:
    try:
        parse().verify(message)
    except InvalidSshSignature:
        return False
    return True


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-256", "ecdsa-521", "rsa-2048"])
def test_no_signature_with_a_flipped_bit_is_believed(key_of: Callable[[str], Path], kind: str) -> None:
    signature = SshSignature.parse(by_ssh_keygen(key_of(kind)))
    assert is_believed(lambda: SshSignature.from_blob(signature.blob()))
    assert not [blob for blob in flips(signature.blob()) if is_believed(lambda blob=blob: SshSignature.from_blob(blob))]  # type: ignore[misc]


@pytest.mark.parametrize("hardware", HARDWARE, ids=["ed25519", "ecdsa"])
def test_no_hardware_signature_with_a_flipped_bit_is_believed(hardware: Hardware) -> None:
    blob = hardware.sign(MESSAGE).blob()
    assert not [one for one in flips(blob) if is_believed(lambda one=one: SshSignature.from_blob(one))]  # type: ignore[misc]


def test_no_text_and_no_message_with_a_flipped_bit_is_believed() -> None:
    signature = FileSigner.of(private("a")).sign(MESSAGE)
    texts = [one.decode("latin-1") for one in flips(str(signature).encode())]
    assert not [text for text in texts if is_believed(lambda text=text: SshSignature.parse(text))]  # type: ignore[misc]
    assert not [message for message in flips(MESSAGE) if is_believed(lambda: signature, message)]


def test_no_cut_and_no_lengthened_signature_is_believed() -> None:
    for blob in (FileSigner.of(private("a")).sign(MESSAGE).blob(), HARDWARE[1].sign(MESSAGE).blob()):
        for end in range(len(blob)):
            with pytest.raises(InvalidSshSignature):
                SshSignature.from_blob(blob[:end])
        with pytest.raises(InvalidSshSignature, match="1 bytes follow"):
            SshSignature.from_blob(blob + b"\0")
    for signature in (FileSigner.of(private("a")).sign(MESSAGE), HARDWARE[0].sign(MESSAGE), HARDWARE[1].sign(MESSAGE)):
        with pytest.raises(InvalidSshSignature, match="1 bytes follow"):
            verify_raw(signature.key, signature.raw + b"\0", signed_data(MESSAGE))


# -- what is not accepted ---------------------------------------------------------------------------------------------------------


def rebuilt(
    key: bytes, *, version: int = 1, reserved: bytes = b"", hash_: str = "sha512", namespace: str = NAMESPACE, raw: bytes = b""
) -> bytes:
    return b"SSHSIG" + uint32(version) + b"".join(string(part) for part in (key, namespace, reserved, hash_, raw))


def test_versions_hashes_and_unsigned_bytes() -> None:
    signature = FileSigner.of(private("a")).sign(MESSAGE)
    key, raw = signature.key.blob, signature.raw
    SshSignature.from_blob(rebuilt(key, raw=raw)).verify(MESSAGE)
    for wrong, why in (
        ({"version": 2}, "SSHSIG of version 1"), ({"version": 0}, "SSHSIG of version 1"), ({"reserved": b"x"}, "nobody signs"),
        ({"namespace": ""}, "no namespace"), ({"hash_": "sha1"}, "hashed with sha1"), ({"hash_": "SHA512"}, "hashed with SHA512"),
        ({"namespace": "a b"}, "visible ASCII"),
    ):  # fmt: skip
        with pytest.raises(InvalidSshSignature, match=why):
            SshSignature.from_blob(rebuilt(key, raw=raw, **wrong))


def test_short_rsa_keys_and_sha1_are_refused(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public, data = PublicKey.of(key.public_key()), signed_data(MESSAGE)
    verify_raw(public, string("rsa-sha2-256") + string(key.sign(data, padding.PKCS1v15(), hashes.SHA256())), data)
    for name, of in (
        ("ssh-rsa", hashes.SHA1()),
        ("ssh-rsa", hashes.SHA256()),
        ("rsa-sha2-1", hashes.SHA1()),
        ("ssh-ed25519", hashes.SHA256()),
    ):
        with pytest.raises(InvalidSshSignature, match=r"SHA-1|is not how such a key signs"):
            verify_raw(public, string(name) + string(key.sign(data, padding.PKCS1v15(), of)), data)
    with pytest.raises(InvalidSshSignature, match="has not signed"):
        verify_raw(public, string("rsa-sha2-512") + string(key.sign(data, padding.PKCS1v15(), hashes.SHA256())), data)
    with pytest.raises(InvalidSshSignature, match="its length"):
        verify_raw(public, string("rsa-sha2-512") + string(b"\0" + key.sign(data, padding.PKCS1v15(), hashes.SHA512())), data)

    file = new_key(tmp_path / "short", "-t", "rsa", "-b", "1024")
    with pytest.raises(InvalidSshSignature, match="1024 bits is too short"):
        SshSignature.parse(by_ssh_keygen(file))
    with pytest.raises(InvalidPublicKey, match="1024 bits is too short"):
        PublicKey.parse(file.with_suffix(".pub").read_text())
    with pytest.raises(CannotSign, match="1024 bits is too short"):
        open_signer(str(file), {})


def test_a_signature_by_one_kind_of_key_is_none_of_another() -> None:
    signature = FileSigner.of(private("a")).sign(MESSAGE)
    for other in (
        HARDWARE[0].key,
        PublicKey.of(ec.derive_private_key(5, ec.SECP384R1()).public_key()),
        PublicKey.of(private("b").public_key()),
    ):
        with pytest.raises(InvalidSshSignature):
            SshSignature(other, NAMESPACE, MessageHash.SHA512, signature.raw).verify(MESSAGE)


@pytest.mark.parametrize("name", ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"])
def test_numbers_of_an_ecdsa_signature_have_one_spelling(name: str) -> None:
    key = ec.derive_private_key(4711, ec.SECP256R1() if name.endswith("256") else ec.SECP384R1())
    public, data = PublicKey.of(key.public_key()), signed_data(MESSAGE)
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256() if name.endswith("256") else hashes.SHA384())))
    verify_raw(public, string(name) + string(mpint(r) + mpint(s)), data)
    long = string(b"\0\0" + r.to_bytes(48).lstrip(b"\0"))
    negative = string((r | 1 << (8 * 48 - 1)).to_bytes(48))
    for wrong in (long + mpint(s), negative + mpint(s), mpint(0) + mpint(s), mpint(r) + mpint(0), mpint(r) + mpint(s) + mpint(1)):
        with pytest.raises(InvalidSshSignature):
            verify_raw(public, string(name) + string(wrong), data)


LINE = str(PublicKey.of(private("a").public_key()))
BLOB = PublicKey.of(private("a").public_key()).blob


RSA, P256 = "ssh-rsa", "ecdsa-sha2-nistp256"


def line_of(kind: str, *parts: bytes) -> str:
    return f"{kind} {base64.b64encode(string(kind) + b''.join(parts)).decode()}"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no type of key"),
        ("ssh-ed25519", "in base64"),
        ("ssh-ed25519 !", "in base64"),
        (LINE[:-3], "in base64|ends after"),
        (f"no-pty {LINE}", "without options"),
        (f'command="true" {LINE}', "without options"),
        (LINE.replace("ssh-ed25519", RSA), "the line says ssh-rsa"),
        (LINE.replace("ssh-ed25519", "ssh-dss"), "DSA keys"),
        (LINE.replace("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"), "a certificate"),
        (f"{LINE} \x1b[2J", "visible characters"),
        (f"{LINE} {'x' * 201}", "at most 200"),
        (f"{LINE}\n{LINE}", "in base64"),
        ("x" * 9000, "8192"),
        (line_of("ssh-ed25519", string(b"x" * 32), b"x"), "1 bytes follow"),
        (line_of("ssh-ed25519", string(b"x" * 31)), "not a public key"),
        (line_of("ssh-ed25519", string(b"x" * 33)), "may have 32"),
        (line_of(RSA, mpint(65537), mpint(2**2048)), "not those of an RSA key"),
        (line_of(RSA, mpint(65536), mpint(2**2048 + 1)), "not those of an RSA key"),
        (line_of(RSA, mpint(1), mpint(2**2048 + 1)), "not those of an RSA key"),
        (line_of(RSA, mpint(2**33 + 1), mpint(2**2048 + 1)), "not those of an RSA key"),
        (line_of(RSA, mpint(65537), mpint(2**16384 + 1)), "not those of an RSA key"),
        (line_of(RSA, mpint(65537), mpint(2**16400 + 1)), "may have"),
        (line_of(RSA, string(b"\0\1\0\1"), mpint(2**2048 + 1)), "zeros before it"),
        (line_of(P256, string("nistp384"), string(b"")), "says another"),
        (line_of(P256, string("nistp256"), string(b"\x02" + b"x" * 32)), "not uncompressed"),
        (line_of(P256, string("nistp256"), string(b"\x04" + b"x" * 64)), "not a public key"),
        (line_of(P256, string("nistp256"), string(b"")), "not uncompressed"),
    ],
)
def test_what_is_no_public_key(line: str, why: str) -> None:
    with pytest.raises(InvalidPublicKey, match=why):
        PublicKey.parse(line)


# -- signers ----------------------------------------------------------------------------------------------------------------------


def test_a_passphrase_is_asked_for_by_ssh_keygen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(tmp_path / "key", "-t", "ed25519", passphrase="correct horse")
    answer = tmp_path / "answer"
    answer.write_text("#!/bin/sh\necho correct horse\n")
    answer.chmod(0o700)
    signer = open_signer(str(key), {})
    assert isinstance(signer, ProgramSigner)
    monkeypatch.setenv("SSH_ASKPASS", str(answer))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    signature = signer.sign(MESSAGE)
    assert signature.key == PublicKey.parse((tmp_path / "key.pub").read_text())
    signature.verify(MESSAGE)
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    with pytest.raises(CannotSign, match=r"the passphrase was wrong, or there is no terminal.*ssh-add"):
        signer.sign(MESSAGE)
    answer.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setenv("SSH_ASKPASS", str(answer))
    with pytest.raises(CannotSign, match=r"within 0\.5 s"):
        ProgramSigner(key, signer.program, limit_s=0.5).sign(MESSAGE)


def test_without_ssh_keygen_a_passphrase_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(tmp_path / "key", "-t", "ed25519", passphrase="correct horse")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotSign, match="openssh-client"):
        open_signer(str(key), {})


def test_what_is_typed_ahead_does_not_reach_the_program(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_text("#!/bin/sh\ncat >&2; echo over >&2; exit 3\n")
    file.chmod(0o700)
    script = (
        "import pathlib, sys; from verdigris.approvals.signing import ProgramSigner\n"
        "ProgramSigner(pathlib.Path('key'), sys.argv[1]).sign(b'message')"
    )
    done = subprocess.run([sys.executable, "-c", script, file], input=b"typed", capture_output=True, timeout=60, check=False)
    assert b"CannotSign" in done.stderr
    assert b"(over)" in done.stderr


def test_a_program_that_signs_nothing_right(tmp_path: Path) -> None:
    good = FileSigner.of(private("a")).sign(b"another message")
    for script, why in (
        ("exit 0", "cannot read what"), ('eval "out=\\${$#}"; echo hello > "$out.sig"', "no signature that is accepted"),
        (f"eval \"out=\\${{$#}}\"; cat > \"$out.sig\" <<'END'\n{good}END", "gave something else"),
        ("echo broken >&2; exit 3", r"could not sign .*\(broken\)"),
    ):  # fmt: skip
        file = tmp_path / "program"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o700)
        with pytest.raises(CannotSign, match=why):
            ProgramSigner(tmp_path / "key", str(file)).sign(MESSAGE)
    with pytest.raises(CannotSign, match="cannot start"):
        ProgramSigner(tmp_path / "key", str(tmp_path / "nothing")).sign(MESSAGE)


def pem(tmp_path: Path, key: object, passphrase: bytes | None = None) -> Path:
    encryption = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    assert isinstance(key, Ed25519PrivateKey | X25519PrivateKey | ec.EllipticCurvePrivateKey)
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    file.chmod(0o600)
    return file


def test_a_pem_keys_passphrase_is_asked_for(tmp_path: Path) -> None:
    file = pem(tmp_path, private("a"), b"secret")
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "secret"

    signature = open_signer(str(file), {}, ask).sign(MESSAGE)
    signature.verify(MESSAGE)
    assert signature.key == PublicKey.of(private("a").public_key())
    assert asked == [f"Passphrase for {file}: "]
    with pytest.raises(CannotSign, match="its passphrase is another one"):
        open_signer(str(file), {}, lambda _: "wrong")
    with pytest.raises(CannotSign, match="nobody is here to type it"):
        open_signer(str(file), {})


def test_keys_that_cannot_sign(tmp_path: Path) -> None:
    for key, why in (
        (X25519PrivateKey.generate(), "of a kind that does not sign"),
        (ec.generate_private_key(ec.SECP256K1()), "cannot sign approvals"),
    ):
        with pytest.raises(CannotSign, match=why):
            open_signer(str(pem(tmp_path, key)), {})
    file = tmp_path / "key"
    for content, why in (
        (b"", "neither a private key"), (b"hello", "neither a private key"), (b"\0" * 70_000, "larger than 65536"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key in PEM"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "not a private key of OpenSSH"),
    ):  # fmt: skip
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(CannotSign, match=why):
            open_signer(str(file), {})
    for missing in (tmp_path, tmp_path / "nothing", "\0"):
        with pytest.raises(CannotSign, match="cannot read the key"):
            open_signer(str(missing), {})


@pytest.mark.parametrize("mode", [stat.S_IRGRP, stat.S_IWOTH])
def test_a_key_that_others_can_read_or_change_signs_nothing(tmp_path: Path, mode: int) -> None:
    file = pem(tmp_path, private("a"))
    os.chmod(file, 0o600 | mode)  # noqa: PTH101  # in the words of POSIX
    with pytest.raises(CannotSign, match="chmod 600"):
        open_signer(str(file), {})


# -- anything -----------------------------------------------------------------------------------------------------------------------


@given(st.text() | st.binary(max_size=3000).map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(InvalidSshSignature):
        SshSignature.parse(text)
    with pytest.raises(InvalidPublicKey):
        PublicKey.parse(text)


WORDS = [b"", b"sha512", b"sha256", b"ssh-rsa", b"nistp256", NAMESPACE.encode(), *(kind.value.encode() for kind in KeyType)]
PIECES = st.one_of(
    st.sampled_from([BLOB, *(h.key.blob for h in HARDWARE), *WORDS]),
    st.binary(max_size=80),
    st.integers(0, 2**2100).map(lambda n: mpint(n)[4:]),
)


@given(st.lists(PIECES, max_size=7), st.sampled_from([b"", b"SSHSIG" + uint32(1), b"SSHSIG" + uint32(9)]), st.binary(max_size=8))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_blob_is_a_signature_or_refused(pieces: list[bytes], front: bytes, after: bytes) -> None:
    blob = front + b"".join(map(string, pieces)) + after
    armored = f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(blob).decode()}\n-----END SSH SIGNATURE-----\n"
    parsers: list[Callable[[], SshSignature]] = [lambda: SshSignature.from_blob(blob), lambda: SshSignature.parse(armored)]
    for parse in parsers:
        try:
            signature = parse()
        except InvalidSshSignature:
            continue
        assert signature.blob() == blob
        with pytest.raises(InvalidSshSignature):
            signature.verify(MESSAGE, signature.namespace)
    try:
        key = PublicKey(blob)
    except InvalidPublicKey:
        return
    assert PublicKey.parse(str(key)) == key


@given(st.binary(max_size=200), st.sampled_from([*(h.key for h in HARDWARE), PublicKey.of(private("a").public_key())]), st.data())
def test_any_bytes_are_no_signature(raw: bytes, key: PublicKey, data: st.DataObject) -> None:
    named = string(key.type.value) + string(data.draw(st.binary(max_size=100) | st.just(mpint(1) + mpint(1)))) + raw
    for one in (raw, named):
        with pytest.raises(InvalidSshSignature):
            verify_raw(key, one, b"data")


@given(st.integers(0, 2**600))
def test_numbers_are_read_as_they_are_written(number: int) -> None:
    reader = Reader(mpint(number))
    assert reader.mpint(76) == number
    reader.end()


@given(st.binary(max_size=40))
def test_a_number_has_one_spelling(spelled: bytes) -> None:
    try:
        number = Reader(string(spelled)).mpint(40)
    except ValueError:
        return
    assert mpint(number) == string(spelled)
