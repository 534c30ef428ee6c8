<?php
// What the module uses of PrestaShop 8, as its sources have it: classes/Db, PaymentModule, order/Order, order/OrderSlip.
// php prestashop.php MODULE URL SECRET JSON: JSON changes the order, its lines, its slips and its customer.
define('_DB_PREFIX_', 'ps_');
class Db {
  const INSERT = 1, REPLACE = 3;
  private static $one; private $tables = [], $rows = [];
  public static function getInstance() { return self::$one ??= new Db; }
  public function execute($sql) { preg_match('/CREATE TABLE IF NOT EXISTS `(\w+)`/', $sql, $m); $this->tables[] = $m[1]; return true; }
  public function insert($table, $data, $null_values = false, $use_cache = true, $type = self::INSERT, $add_prefix = true) {
    if (!in_array(_DB_PREFIX_ . $table, $this->tables) || $type !== self::REPLACE) throw new Exception('no such table');
    $this->rows[$data['id_order']] = $data['token']; return true;
  }
  public function getValue($sql) { preg_match('/`id_order` = (\d+)/', $sql, $m); return $this->rows[$m[1]] ?? false; }
}
class Configuration {
  public static $all = ['PS_OS_CANCELED' => '6', 'PS_OS_REFUND' => '7', 'PS_OS_ERROR' => '8', 'PS_LANG_DEFAULT' => '1'];
  public static function get($key) { return self::$all[$key] ?? false; }
  public static function updateValue($key, $value) { self::$all[$key] = $value; return true; }
}
class Tools {
  public static function isSubmit($name) { return isset($_POST[$name]); }
  public static function getValue($name, $else = false) { return $_POST[$name] ?? $else; }
}
class Module {
  public $hooks = [], $name, $version, $author, $displayName, $description;
  public function __construct() {}
  public function install() { return true; }
  public function registerHook($name) { $this->hooks[] = $name; return method_exists($this, 'hook' . ucfirst($name)); }
}
class Currency { public $iso_code; public function __construct($id) { $this->iso_code = [1 => 'EUR'][$id]; } }
class Customer { public static $mail; public $email; public function __construct($id) { $this->email = self::$mail; } }
class CartRule { public $code; public function __construct($id) { $this->code = [5 => '', 6 => 'TENOFF'][$id]; } }
class Category { public $name; public function __construct($id, $lang) { $this->name = [4 => [1 => 'Mugs']][$id][$lang] ?? null; } }
class OrderState { public $id, $paid; public function __construct($id) { [$this->id, $this->paid] = [$id, in_array($id, [2, 5]) ? '1' : '0']; } }
#[AllowDynamicProperties]
class Order {
  public static $stored = [], $lines = [], $state = 10;
  public $id;
  public function __construct($id) { $this->id = $id; foreach (self::$stored as $name => $value) $this->$name = $value; }
  public function getProducts() { return self::$lines; }
  public function getCartRules() { return [['id_cart_rule' => '5', 'value' => '0'], ['id_cart_rule' => '6', 'value' => '10']]; }
  public function getCurrentOrderState() { return new OrderState(self::$state); }
}
class OrderSlip { public static $all = []; public static function getOrdersSlip($customer_id, $order_id = false) { return self::$all; } }
class PrestaShopLogger { public static function addLog($message, $severity = 1) { fwrite(STDOUT, $message); } }
function pSQL($text) { return addslashes($text); }

[, $module, $url, $secret, $changes] = $argv;
$changes = json_decode($changes, true);
Order::$stored = ($changes['order'] ?? []) + ['reference' => 'XKBKNABJK', 'id_customer' => 3, 'id_currency' => 1, 'total_paid' => '119.000000',
  'total_paid_tax_incl' => '119.000000', 'total_paid_tax_excl' => '100.000000', 'total_shipping_tax_excl' => '4.900000',
  'total_discounts_tax_incl' => '10.000000', 'date_add' => '2026-11-27 09:00:00'];
// The keys are the ids of the lines.
Order::$lines = $changes['lines'] ?? [41 => ['product_id' => '7', 'id_category_default' => '4', 'product_reference' => 'MUG-1', 'product_name' => 'Mug (Size: L)',
  'product_quantity' => '2', 'unit_price_tax_incl' => '57.050000']];
Customer::$mail = $changes['mail'] ?? ' Bob.Norman@mail.example';
error_reporting(E_ALL & ~E_DEPRECATED);
set_error_handler(function ($kind, $text, $file, $line) { if ($kind & error_reporting()) throw new ErrorException("$text in line $line"); });
require $module;
$clew = new Clew;
if (!$clew->install()) exit('it cannot be installed');
$clew->hookActionValidateOrder(['order' => new Order(12), 'orderStatus' => new OrderState(10)]);  // before the owner has set the address
$_POST = ['clew_url' => $url, 'clew_secret' => $secret];
$form = $clew->getContent();
if (!str_contains($form, htmlspecialchars($url))) exit('the form does not show the address');
// The customer's request brings the header; the payment's callback and the employee's browser do not.
$_SERVER['HTTP_X_CLEW_REFERRAL'] = getenv('TOKEN');
$clew->hookActionValidateOrder(['order' => new Order(12), 'orderStatus' => new OrderState(10)]);
unset($_SERVER['HTTP_X_CLEW_REFERRAL']);
$clew->hookActionOrderStatusPostUpdate(['id_order' => 12, 'newOrderStatus' => new OrderState(2)]);
Order::$state = 2;
foreach ($changes['slips'] ?? [] as $slip) {
  OrderSlip::$all[] = $slip;
  $clew->hookActionOrderSlipAdd(['order' => new Order(12)]);
}
